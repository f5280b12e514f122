//! A mail server on threads of its own, by the SMTP state machine of the crate `mailin`; with TLS from the start or in
//! clear on loopback. It asks for a login.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use mailin::{Action, AuthMechanism, Handler, Response, SessionBuilder, response};
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};

/// A mail as it arrived.
#[derive(Clone, Debug, Default)]
pub struct Received {
    pub from: String,
    pub to: Vec<String>,
    /// Who had logged in.
    pub login: Option<String>,
    /// In their order, unfolded.
    pub headers: Vec<(String, String)>,
    /// The body, decoded.
    pub text: String,
}

impl Received {
    /// The one header of this name.
    pub fn header(&self, name: &str) -> &str {
        let mut found = self.headers.iter().filter(|(header, _)| header == name);
        let (_, value) = found.next().unwrap_or_else(|| panic!("no {name}: {self:?}"));
        assert!(found.next().is_none(), "{name} twice: {self:?}");
        value
    }
}

/// A running server; its threads end with the process.
pub struct MailServer {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
    certificate: String,
}

impl MailServer {
    /// In clear; lets in who has this password, and quotes that of whom it does not let in.
    pub fn start(password: &str) -> MailServer {
        Self::serve(password, None, String::new())
    }

    /// By TLS from the start, with a certificate for `localhost`.
    pub fn with_tls(password: &str) -> MailServer {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        Self::serve(password, Some(Arc::new(config)), made.cert.pem())
    }

    fn serve(password: &str, tls: Option<Arc<ServerConfig>>, certificate: String) -> MailServer {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let (inbox, password) = (Arc::clone(&received), password.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let desk = Desk {
                    inbox: Arc::clone(&inbox),
                    password: password.clone(),
                    mail: Received::default(),
                    data: Vec::new(),
                };
                let tls = tls.clone();
                thread::spawn(move || match tls {
                    None => converse(BufReader::new(stream), desk, false),
                    Some(config) => {
                        let connection = ServerConnection::new(config).unwrap();
                        converse(BufReader::new(StreamOwned::new(connection, stream)), desk, true);
                    }
                });
            }
        });
        MailServer { address, received, certificate }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its certificate, as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// The mails that it took.
    pub fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap().clone()
    }
}

/// One conversation, to its end or to that of the connection.
fn converse<S: Read + Write>(mut stream: BufReader<S>, desk: Desk, tls: bool) {
    let mut builder = SessionBuilder::new("mail.example.org");
    builder.enable_auth(AuthMechanism::Plain);
    if !tls {
        builder.insecure_enable_plaintext_auth();
    }
    let mut session = builder.build(IpAddr::V4(Ipv4Addr::LOCALHOST), desk);
    if tls {
        session.tls_active();
    }
    let answer = |stream: &mut BufReader<S>, response: &Response| {
        let bytes = response.buffer().unwrap();
        stream.get_mut().write_all(&bytes).and_then(|()| stream.get_mut().flush()).is_ok()
    };
    let mut going_on = answer(&mut stream, &session.greeting());
    let mut line = Vec::new();
    while going_on && stream.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        let response = session.process(&line);
        line.clear();
        going_on = match response.action {
            Action::Reply => answer(&mut stream, &response),
            Action::Close => {
                answer(&mut stream, &response);
                false
            }
            _ => true,
        };
    }
}

struct Desk {
    inbox: Arc<Mutex<Vec<Received>>>,
    password: String,
    mail: Received,
    data: Vec<u8>,
}

impl Handler for Desk {
    fn auth_plain(&mut self, _: &str, user: &str, password: &str) -> Response {
        if password != self.password {
            return Response::custom(535, format!("no, {user}: {password} is wrong"));
        }
        self.mail.login = Some(user.to_owned());
        response::AUTH_OK
    }

    fn mail(&mut self, _: IpAddr, _: &str, from: &str) -> Response {
        self.mail.from = from.to_owned();
        if self.mail.login.is_some() { response::OK } else { response::AUTHENTICATION_REQUIRED }
    }

    fn rcpt(&mut self, to: &str) -> Response {
        self.mail.to.push(to.to_owned());
        response::OK
    }

    fn data(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.data.extend_from_slice(bytes);
        Ok(())
    }

    fn data_end(&mut self) -> Response {
        let whole = String::from_utf8(std::mem::take(&mut self.data)).unwrap();
        let (headers, body) = whole.split_once("\r\n\r\n").unwrap();
        let unfolded = headers.replace("\r\n ", " ").replace("\r\n\t", " ");
        let pairs = unfolded.lines().filter_map(|line| line.split_once(": "));
        self.mail.headers = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let quoted = self.mail.headers.iter().any(|(name, value)| {
            name == "Content-Transfer-Encoding" && value.eq_ignore_ascii_case("quoted-printable")
        });
        self.mail.text = if quoted { unquoted(body) } else { body.to_owned() };
        self.inbox.lock().unwrap().push(self.mail.clone());
        response::OK
    }
}

/// Quoted-printable, decoded.
fn unquoted(text: &str) -> String {
    let joined = text.replace("=\r\n", "");
    let mut bytes = Vec::new();
    let mut rest = joined.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let code = (*first == b'=').then(|| after.get(..2)).flatten();
        let code = code.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).unwrap()
}
