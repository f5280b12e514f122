//! What a call shows to whom: secrets, signatures, certificates.

use std::{
    io::{Read, Write},
    sync::Arc,
};

use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivateKeyDer};
use serde_json::json;

use super::{
    http::{CANARY, World, contents},
    support::{detail, error},
};

#[tokio::test]
async fn a_secret_is_not_shown_to_another_host() {
    let world = World::new().await;
    for more in [
        json!({"auth": {"bearer": "secret:elsewhere"}}),
        json!({"auth": {"tokenlib": {"secret": "secret:elsewhere"}}}),
        json!({"headers": {"X-Key": "secret:elsewhere"}}),
    ] {
        let ran = world.call("/ok", more).await;
        assert_eq!(ran.state, "refused", "{ran:?}");
        assert!(error(&ran).contains("secret:elsewhere is not for the host 127.0.0.1"), "{ran:?}");
    }
    assert!(world.server.came().is_empty());
}

#[tokio::test]
async fn secrets_come_to_the_server_and_into_no_table() {
    let world = World::new().await;
    let ways = [
        json!({"auth": {"bearer": "secret:canary"}}),
        json!({"auth": {"basic": {"user": "u", "password": "secret:canary"}}}),
        json!({"headers": {"X-Key": "secret:canary"}}),
    ];
    for way in ways {
        let ran = world.call("/echo", way).await;
        assert_eq!(ran.state, "succeeded", "{ran:?}");
        assert!(detail(&ran, "body").as_str().unwrap().contains("[secret]"), "the server echoed it: {ran:?}");
    }
    let came = world.server.came();
    assert_eq!(came[0].header("authorization"), format!("Bearer {CANARY}"));
    assert_eq!(came[1].header("authorization"), "Basic dTpjYW5hcnktNDcxMS0icXVvdGVkIg==");
    assert_eq!(came[2].header("x-key"), CANARY);
    let tables: Vec<String> = world
        .db
        .get("SELECT array_agg(c.oid::regclass::text) FROM pg_class c WHERE c.relnamespace = 'sexton'::regnamespace AND c.relkind = 'r'", &[])
        .await;
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let sql = format!(
            "SELECT count(*) FROM {table} t WHERE t::text LIKE '%canary-4711%' OR t::text LIKE '%dTpjYW5hcnkt%'"
        );
        assert_eq!(world.db.get::<i64>(&sql, &[]).await, 0, "{table}");
    }
}

#[tokio::test]
async fn webhooks_are_signed_by_both_secrets_while_one_replaces_the_other() {
    let world = World::new().await;
    for (secrets, state) in [
        (json!("secret:hmac"), "succeeded"),
        (json!(["secret:old", "secret:hmac"]), "succeeded"),
        (json!("secret:old"), "failed"),
    ] {
        let ran = world.call("/hmac", json!({"auth": {"hmac": secrets}, "body": "é"})).await;
        assert_eq!(ran.state, state, "{secrets} {ran:?}");
    }
    let came = world.server.came();
    assert_eq!(came[1].header("webhook-signature").split(' ').count(), 2);
    assert_eq!(came[1].header("webhook-id"), came[1].header("idempotency-key"));
}

#[tokio::test]
async fn hawk_is_verified_by_the_server() {
    let world = World::new().await;
    let hawk = |id: &str| json!({"auth": {"hawk": {"id": id, "key": "secret:hawk"}}, "query": {"a": "b"}});
    let mut with_body = hawk("sexton");
    with_body["body"] = json!("text");
    assert_eq!(world.call("/hawk", hawk("sexton")).await.state, "succeeded");
    let ran = world.call("/hawk", with_body).await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    let ran = world.call("/hawk", hawk("somebody")).await;
    assert_eq!((ran.state.as_str(), detail(&ran, "status")), ("failed", &json!(401)));
}

#[tokio::test]
async fn a_storage_node_verifies_a_derived_token() {
    let world = World::new().await;
    let auth = |secret: &str, uid: i64| json!({"auth": {"tokenlib": {"secret": secret, "token": {"uid": uid}}}, "method": "DELETE"});
    let ran = world.call("/storage", auth("secret:master", 42)).await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    for wrong in [auth("secret:hawk", 42), auth("secret:master", 43)] {
        let ran = world.call("/storage", wrong).await;
        assert_eq!((ran.state.as_str(), detail(&ran, "status")), ("failed", &json!(401)));
    }
}

/// Answers over TLS with a certificate that nobody knows; returns the port and the certificate.
fn tls_server() -> (u16, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let server = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut stream = StreamOwned::new(server, connection.unwrap());
            // Who does not trust the certificate goes away here.
            if stream.read(&mut [0; 4096]).is_ok() {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure")
                    .unwrap();
            }
        }
    });
    (port, made.cert.pem())
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_refused_until_the_file_does() {
    let world = World::new().await;
    let (port, certificate) = tls_server();
    let to = json!({ "url": format!("https://localhost:{port}/") });
    let ran = world.call("", to.clone()).await;
    // Where the machine has no certificates at all, nothing is sent in the first place.
    let found = error(&ran);
    let distrusts =
        ran.state == "failed" && detail(&ran, "class") == "connect" && found.contains("certificate");
    let has_none = ran.state == "refused" && found.contains("no certificate can be verified here");
    assert!(distrusts || has_none, "{ran:?}");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("roots.pem");
    std::fs::write(&path, certificate).unwrap();
    let mut known = contents();
    known.http.roots = Some(path);
    world.outside.replace(known);
    let ran = world.call("", to).await;
    assert_eq!(ran.state, "succeeded", "{ran:?}");
    assert_eq!(detail(&ran, "body"), "secure");
}
