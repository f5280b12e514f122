//! Buckets of S3-compatible servers.
//!
//! What is easy to get wrong: rustls must be given its provider by us, since a library must not choose one for the whole
//! process, and without one the HTTP client panics; and an endpoint in clear text must be asked for by its `http://`.

use std::time::Duration;

use object_store::{
    ClientOptions,
    aws::{AmazonS3, AmazonS3Builder},
    client::{HttpClient, HttpConnector},
};

use crate::{
    error::{Error, ErrorKind, Result},
    outside::{Contents, http::tls::tls, storages::Bucket},
};

/// How long a connection may take to come to be.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may be silent in the middle of a request; a request as a whole may take as long as it moves.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The region of servers that know none.
const NO_REGION: &str = "us-east-1";

/// Opens a bucket; also gives the prefix of its keys.
pub(super) fn open(bucket: &Bucket, contents: &Contents) -> Result<(AmazonS3, String)> {
    let whole = bucket.url.strip_prefix("s3://").unwrap_or(&bucket.url);
    let (name, prefix) = whole.split_once('/').unwrap_or((whole, ""));
    let clear = bucket.plain_http
        && bucket.endpoint.as_deref().is_some_and(|endpoint| endpoint.starts_with("http://"));
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(name)
        .with_region(bucket.region.as_deref().unwrap_or(NO_REGION))
        .with_virtual_hosted_style_request(bucket.virtual_hosted)
        .with_allow_http(clear)
        .with_http_connector(Connector { client: client(clear, contents)? });
    if let Some(endpoint) = &bucket.endpoint {
        builder = builder.with_endpoint(host_style(bucket, name, endpoint));
    }
    builder = match (&bucket.access_key_id, &bucket.secret_access_key) {
        (Some(id), Some(key)) => builder
            .with_access_key_id(contents.secrets.get(id)?.expose())
            .with_secret_access_key(contents.secrets.get(key)?.expose()),
        _ => builder.with_skip_signature(true),
    };
    let store = builder.build().map_err(|cause| {
        Error::new(ErrorKind::Outside, format!("the bucket {name} cannot be used")).caused_by(cause)
    })?;
    Ok((store, prefix.trim_matches('/').to_owned()))
}

/// The client library wants the bucket in the endpoint where it stands in the host name.
fn host_style(bucket: &Bucket, name: &str, endpoint: &str) -> String {
    let endpoint = endpoint.trim_end_matches('/');
    match endpoint.split_once("://") {
        Some((scheme, host)) if bucket.virtual_hosted => format!("{scheme}://{name}.{host}"),
        _ => endpoint.to_owned(),
    }
}

/// Gives the client library our HTTP client, whatever options it has.
#[derive(Clone, Debug)]
struct Connector {
    client: reqwest::Client,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.client.clone()))
    }
}

fn client(clear: bool, contents: &Contents) -> Result<reqwest::Client> {
    let (tls, distrust) = tls(contents)?;
    // A machine without certificates can still use a server in clear text.
    if let Some(reason) = distrust.filter(|_| !clear) {
        let message = format!("this machine has no certificates to trust: {reason}");
        return Err(
            Error::new(ErrorKind::Outside, message).with_remedy("name a file of them as `roots` of [http]")
        );
    }
    reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .read_timeout(READ_TIMEOUT)
        // A body as it was sent: what is stored is hashed, and must not be unpacked on the way.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("sexton/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|cause| Error::new(ErrorKind::Outside, "the HTTP client cannot be set up").caused_by(cause))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bucket_stands_where_it_is_wanted() {
        let mut bucket = Bucket {
            url: "s3://b/backups".to_owned(),
            region: None,
            endpoint: Some("https://s3.example.com".to_owned()),
            access_key_id: None,
            secret_access_key: None,
            virtual_hosted: false,
            plain_http: false,
        };
        assert_eq!(host_style(&bucket, "b", "https://s3.example.com/"), "https://s3.example.com");
        bucket.virtual_hosted = true;
        assert_eq!(host_style(&bucket, "b", "https://s3.example.com"), "https://b.s3.example.com");
    }

    #[test]
    fn a_secret_that_is_not_there_is_named() {
        let bucket = Bucket {
            url: "s3://b".to_owned(),
            region: None,
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            access_key_id: Some("s3-id".to_owned()),
            secret_access_key: Some("s3-key".to_owned()),
            virtual_hosted: false,
            plain_http: true,
        };
        let error = open(&bucket, &Contents::default()).expect_err("there is no secret");
        assert!(error.to_string().contains("s3-id"), "{error}");
    }
}
