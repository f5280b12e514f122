//! Backups in buckets: an S3 server in this process, which is not ours, asked for signatures.

use std::{collections::BTreeMap, net::SocketAddr};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use s3s_fs::FileSystem;
use serde_json::{Value, json};
use sexton::outside::{
    Contents, Secret, Secrets, Storage,
    secrets::Known,
    storage::{OpenStorage, Put},
    storages::{Bucket, Place},
};

use crate::{
    backup::{TABLES, contents, fill, sets},
    backup_support::{World, files},
};

/// Serves a folder as buckets, to whoever knows `id` and `key`.
pub async fn serve(root: &std::path::Path) -> SocketAddr {
    std::fs::create_dir(root.join("bucket")).unwrap();
    let mut builder = S3ServiceBuilder::new(FileSystem::new(root).unwrap());
    builder.set_auth(SimpleAuth::from_single("id", "key"));
    let service = builder.build();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let service = service.clone();
            tokio::spawn(async move {
                let server = auto::Builder::new(TokioExecutor::new());
                // A client that goes away is no error of ours.
                drop(server.serve_connection(TokioIo::new(socket), service).await);
            });
        }
    });
    address
}

/// What a replica knows of the bucket.
pub fn known(address: SocketAddr, key: &str) -> Contents {
    let mut secrets = Secrets::default();
    secrets.add("shelf-id", Known { secret: Secret::new("id"), hosts: Vec::new() });
    secrets.add("shelf-key", Known { secret: Secret::new(key), hosts: Vec::new() });
    let bucket = Bucket {
        url: "s3://bucket/some/prefix".to_owned(),
        region: None,
        endpoint: Some(format!("http://{address}")),
        access_key_id: Some("shelf-id".to_owned()),
        secret_access_key: Some("shelf-key".to_owned()),
        virtual_hosted: false,
        plain_http: true,
    };
    let storages = BTreeMap::from([("shelf".to_owned(), Storage::at(Place::Bucket(bucket)))]);
    Contents { secrets, storages, ..Contents::default() }
}

pub fn local(address: SocketAddr) -> String {
    format!(
        "[secrets.shelf-id]\nenv = \"SHELF_ID\"\n[secrets.shelf-key]\nenv = \"SHELF_KEY\"\n\
         [storages.shelf]\nurl = \"s3://bucket/some/prefix\"\nendpoint = \"http://{address}\"\nplain_http = true\n\
         access_key_id = \"secret:shelf-id\"\nsecret_access_key = \"secret:shelf-key\"\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_sets_come_back_identical_from_a_bucket() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    come_back_identical(known(address, "key"), local(address)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn six_sets_come_back_identical_from_a_bucket_that_is_encrypted() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    let mut contents = known(address, "key");
    let cipher = Known { secret: Secret::new("0f".repeat(32)), hosts: Vec::new() };
    contents.secrets.add("cipher", cipher);
    contents.storages.get_mut("shelf").unwrap().encrypt_with = Some("cipher".to_owned());
    let cipher = root.path().join("cipher");
    std::fs::write(&cipher, "0f".repeat(32)).unwrap();
    let cipher = format!("encrypt_with = \"secret:cipher\"\n[secrets.cipher]\nfile = {cipher:?}\n");
    come_back_identical(contents, local(address) + &cipher).await;
}

async fn come_back_identical(known: Contents, local: String) {
    let world = World::with(TABLES, tempfile::tempdir().unwrap(), known, local).await;
    fill(&world).await;
    world.job(sets(), json!({"daily": 1})).await;
    world.succeed().await;
    let ran = world.succeed().await;
    let listed = world.listed().await;
    assert_eq!((listed.len(), &listed[0]["backup"]), (1, &json!(ran.run_id)), "the first one is not kept");
    let other = world.elsewhere(TABLES).await;
    let verified: Value = serde_json::from_str(&other.restored(&["--verify", "--json"]).await).unwrap();
    assert_eq!(verified[0]["good"], json!(true), "{verified}");
    other.restored(&[]).await;
    assert_eq!(contents(&other).await, contents(&world).await);
}

/// Bytes that do not get smaller.
fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes / 8).flat_map(|_| next()).collect()
}

#[tokio::test]
async fn a_server_that_takes_no_parts_bounds_what_is_held() {
    let answer = |method: axum::http::Method| async move {
        if method != axum::http::Method::POST {
            std::future::pending::<()>().await;
        }
        "<InitiateMultipartUploadResult><Bucket>bucket</Bucket><Key>a</Key><UploadId>u</UploadId></InitiateMultipartUploadResult>"
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let contents = known(listener.local_addr().unwrap(), "key");
    tokio::spawn(async move { axum::serve(listener, axum::Router::new().fallback(answer)).await });
    let storage = OpenStorage::open("shelf", &contents).unwrap().with_part_bytes(1 << 20);
    let mut upload = storage.upload("a").unwrap();
    let noise = noise(64 << 20);
    let mut held = 0;
    for chunk in noise.chunks(64 << 10) {
        // On a slow machine it may give up early, and has seen less held.
        let written = tokio::time::timeout(std::time::Duration::from_secs(1), upload.write(chunk)).await;
        if written.is_err() {
            break;
        }
        held += chunk.len();
    }
    // Two parts under way, one being filled, and what the packer holds.
    assert!(held <= 4 << 20, "{held} bytes are held for a server that takes no parts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parts_make_an_object_and_a_dropped_one_leaves_none() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    // No server takes smaller parts.
    let storage = OpenStorage::open("shelf", &known(address, "key")).unwrap().with_part_bytes(5 << 20);
    let noise = noise(12 << 20);
    let mut upload = storage.upload("a/b").unwrap();
    for chunk in noise.chunks(100_000) {
        upload.write(chunk).await.unwrap();
    }
    let written = upload.finish().await.unwrap();
    assert!(written.bytes > 10 << 20, "noise does not get small: {written:?}");
    assert_eq!(written.plain_bytes, noise.len() as u64);
    let mut content = storage.open_object("a/b").await.unwrap();
    let mut back = Vec::new();
    while let Some(chunk) = content.next().await.unwrap() {
        back.extend_from_slice(&chunk);
    }
    let digest = content.finish().await.unwrap();
    assert!(back == noise, "it comes back as it was");
    assert_eq!((digest.bytes(), digest.sha256()), (written.bytes, written.sha256));

    let mut upload = storage.upload("a/half").unwrap();
    upload.write(&noise).await.unwrap();
    upload.abort().await;
    let mut dropped = storage.upload("a/dropped").unwrap();
    dropped.write(&noise).await.unwrap();
    let parts =
        |files: Vec<String>| files.into_iter().filter(|file| file.contains("upload")).collect::<Vec<_>>();
    assert_ne!(parts(files(root.path())), Vec::<String>::new(), "it is in parts, which the server holds");
    drop(dropped);
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    while !parts(files(root.path())).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "left: {:?}", parts(files(root.path())));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let keys: Vec<String> = storage.list("a").await.unwrap().into_iter().map(|listed| listed.key).collect();
    assert_eq!(keys, ["a/b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_first_writes_and_a_wrong_key_is_told() {
    let root = tempfile::tempdir().unwrap();
    let address = serve(root.path()).await;
    let storage = OpenStorage::open("shelf", &known(address, "key")).unwrap();
    assert_eq!(storage.put_if_absent("x", "first").await.unwrap(), Put::Created);
    assert_eq!(storage.put_if_absent("x", "second").await.unwrap(), Put::Present);
    assert_eq!(storage.read_small("x", 100).await.unwrap().as_deref(), Some(&b"first"[..]));
    assert!(storage.read_small("x", 3).await.is_err());
    assert_eq!(storage.read_small("y", 100).await.unwrap(), None);
    storage.delete(&["x".to_owned(), "y".to_owned()]).await.unwrap();
    assert_eq!(storage.list("").await.unwrap(), []);
    let wrong = OpenStorage::open("shelf", &known(address, "another")).unwrap();
    let error = wrong.list("").await.unwrap_err();
    assert!(error.to_string().starts_with("storage shelf: "), "{error}");
    assert!(
        error.remedy().is_some_and(|remedy| remedy.contains("access_key")),
        "{error}: {:?}",
        error.remedy()
    );
    assert!(!error.to_string().contains("another"), "{error}");
}
