//! The headers by which a call proves who sends it, and what must be struck out of what comes back.
//!
//! What is easy to get wrong: a server may send a secret back (an echo, an error page), and an answer is stored. So
//! whatever is put into a header here is remembered in [`Signed::hidden`].

use hawk::{Credentials, DigestAlgorithm, Key, PayloadHasher, RequestBuilder};
use reqwest::Url;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP, Webhook};

use super::{Auth, Call, auth::SecretName, base64, tokenlib};
use crate::{
    error::{Error, ErrorKind, Result},
    outside::Secrets,
};

/// Headers with secrets in them.
#[derive(Default)]
pub(super) struct Signed {
    pub(super) headers: Vec<(String, String)>,
    /// Texts that must not be stored.
    pub(super) hidden: Vec<String>,
}

impl Signed {
    fn secret<'a>(&mut self, secrets: &'a Secrets, name: &SecretName, host: &str) -> Result<&'a str> {
        let text = secrets.for_host(&name.0, host)?.expose();
        self.hidden.push(text.to_owned());
        Ok(text)
    }

    fn authorization(&mut self, scheme: &str, text: &str) {
        self.headers.push(("authorization".to_owned(), format!("{scheme} {text}")));
    }
}

/// Resolves the secrets of a call to this URL. `content_type` is that of its body.
pub(super) fn sign(
    call: &Call,
    url: &Url,
    content_type: &str,
    secrets: &Secrets,
    now: jiff::Timestamp,
) -> Result<Signed> {
    let host = url.host_str().unwrap_or_default();
    let mut signed = Signed::default();
    for (name, value) in &call.headers {
        let value = match crate::outside::secrets::reference(value) {
            Some(secret) => signed.secret(secrets, &SecretName(secret.to_owned()), host)?.to_owned(),
            None => value.clone(),
        };
        signed.headers.push((name.clone(), value));
    }
    let body = call.body.as_ref().map(|body| body.text.as_str());
    match &call.auth {
        Auth::None => {}
        Auth::Basic(basic) => {
            let password = signed.secret(secrets, &basic.password, host)?;
            let encoded = base64::standard(format!("{}:{password}", basic.user).as_bytes());
            signed.hidden.push(encoded.clone());
            signed.authorization("Basic", &encoded);
        }
        Auth::Bearer(token) => {
            let token = signed.secret(secrets, token, host)?;
            signed.authorization("Bearer", token);
        }
        Auth::Hmac(names) => {
            let mut signatures = Vec::new();
            for name in &names.0 {
                let secret = signed.secret(secrets, name, host)?;
                let signature = Webhook::new(secret).and_then(|webhook| {
                    webhook.sign(&call.idempotency_key, now.as_second(), body.unwrap_or_default().as_bytes())
                });
                // Its own error may quote a letter of the secret.
                signatures.push(signature.map_err(|_| malformed(name))?);
            }
            signed.headers.extend([
                (HEADER_WEBHOOK_ID.to_owned(), call.idempotency_key.clone()),
                (HEADER_WEBHOOK_TIMESTAMP.to_owned(), now.as_second().to_string()),
                (HEADER_WEBHOOK_SIGNATURE.to_owned(), signatures.join(" ")),
            ]);
        }
        Auth::Hawk(hawk) => {
            let key = signed.secret(secrets, &hawk.key, host)?;
            let header = hawk_header(call, url, content_type, hawk.id.clone(), key)?;
            signed.authorization("Hawk", &header);
        }
        Auth::Tokenlib(made) => {
            let master = signed.secret(secrets, &made.secret, host)?;
            let (token, key) = tokenlib::token(master, &made.token, now)?;
            let header = hawk_header(call, url, content_type, token, &key)?;
            signed.hidden.push(key);
            signed.authorization("Hawk", &header);
        }
    }
    Ok(signed)
}

fn hawk_header(call: &Call, url: &Url, content_type: &str, id: String, key: &str) -> Result<String> {
    let failed = |cause: hawk::Error| {
        Error::new(ErrorKind::Outside, "the call cannot be signed by Hawk").caused_by(cause)
    };
    let key = Key::new(key, DigestAlgorithm::Sha256).map_err(failed)?;
    let hash = match &call.body {
        // Hawk hashes the type without its parameters.
        Some(body) => {
            let bare = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
            Some(PayloadHasher::hash(bare, DigestAlgorithm::Sha256, &body.text).map_err(failed)?)
        }
        None => None,
    };
    let request =
        RequestBuilder::from_url(call.method.as_str(), url).map_err(failed)?.hash(hash.as_deref()).request();
    Ok(request.make_header(&Credentials { id, key }).map_err(failed)?.to_string())
}

fn malformed(name: &SecretName) -> Error {
    Error::new(ErrorKind::Invalid, format!("secret:{} is no key for webhooks", name.0))
        .with_remedy("it must be base64, as Standard Webhooks has it: whsec_…")
}
