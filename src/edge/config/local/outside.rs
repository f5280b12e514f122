//! The sections of the local file that say what a replica knows of the outside.
//!
//! What is easy to get wrong: a secret's text is read here, from a variable or a file, when the local file is; nothing of
//! it may come into a problem, so these are told at the name of the variable or the file alone.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::{
    super::{
        sources::{Place, Problem},
        tree::{Node, Value},
    },
    notices,
    section::{Section, named_secret},
};
use crate::outside::{
    Command, Contents, Database, Endpoint, HttpRules, Mail, Secret, Storage,
    commands::{CommandParam, GRACE, Limits},
    http::HostPattern,
    secrets::{Known, is_name},
    storages::{self, Bucket},
};

/// The sections that are tables of names, and the keys of each.
pub(in crate::edge::config) const NAMED: &[(&str, &[&str])] = &[
    ("secrets", &["env", "file", "hosts"]),
    ("endpoints", &["url", "private_addresses", "plain_http"]),
    (
        "storages",
        &[
            "folder",
            "url",
            "region",
            "endpoint",
            "access_key_id",
            "secret_access_key",
            "virtual_hosted",
            "plain_http",
            "encrypt_with",
            "decrypt_with",
        ],
    ),
    ("commands", &["argv", "cwd", "env", "user", "params", "cpu_time", "memory_mib", "open_files", "grace"]),
    ("databases", &["conninfo"]),
    ("recipients", &["to"]),
    ("webhooks", &["url", "secrets", "private_addresses", "plain_http"]),
];

/// The keys of `[storages.NAME]` that say something of a bucket.
const BUCKET: &[&str] =
    &["region", "endpoint", "access_key_id", "secret_access_key", "virtual_hosted", "plain_http"];

/// The sections that are one table, and the keys of each.
pub(in crate::edge::config) const SINGLE: &[(&str, &[&str])] = &[
    ("http", &["hosts", "private_addresses", "plain_http", "roots"]),
    ("mail", &["url", "user", "password", "from"]),
];

/// Where variables come from.
pub(super) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Reads a section into `contents`; `false` if there is none of this name.
pub(super) fn read(
    name: &str,
    at: (&Place, &Node),
    lookup: Lookup<'_>,
    contents: &mut Contents,
    problems: &mut Vec<Problem>,
) -> bool {
    if let Some((_, keys)) = SINGLE.iter().find(|(section, _)| *section == name) {
        if let Some(mut section) = Section::open(name.to_owned(), at, keys, problems) {
            match name {
                "http" => contents.http = http(&mut section),
                _ => contents.mail = mail(&mut section),
            }
        }
        return true;
    }
    let Some((_, keys)) = NAMED.iter().find(|(section, _)| *section == name) else { return false };
    let Value::Table(table) = &at.1.value else {
        let problem = Problem::at(&at.1.place, format!("{name} is wrong"));
        problems.push(problem.label(format!("takes tables: [{name}.NAME]")));
        return true;
    };
    for (item, (place, node)) in table {
        if !is_name(item) {
            let problem = Problem::at(place, format!("\"{item}\" is no name for one of the {name}"));
            problems.push(problem.label("letters, digits and . _ ~ -, at most 100, first a letter or digit"));
        }
        let Some(mut section) = Section::open(format!("{name}.{item}"), (place, node), keys, problems) else {
            continue;
        };
        match name {
            "secrets" => {
                if let Some(known) = secret(&mut section, lookup) {
                    contents.secrets.add(item, known);
                }
            }
            "endpoints" => contents.endpoints.extend(endpoint(&mut section).map(|read| (item.clone(), read))),
            "storages" => contents.storages.extend(storage(&mut section).map(|read| (item.clone(), read))),
            "commands" => contents.commands.extend(command(&mut section).map(|read| (item.clone(), read))),
            "recipients" => {
                contents.recipients.extend(notices::recipients(&mut section).map(|read| (item.clone(), read)))
            }
            "webhooks" => {
                contents.webhooks.extend(notices::webhook(&mut section).map(|read| (item.clone(), read)))
            }
            _ => contents.databases.extend(database(&mut section).map(|read| (item.clone(), read))),
        }
    }
    true
}

fn secret(section: &mut Section<'_>, lookup: Lookup<'_>) -> Option<Known> {
    let hosts = section.texts("hosts", host);
    let (env, file) = (section.text("env"), section.text("file"));
    let text = match (env, file) {
        (Some(name), None) => match lookup(&name) {
            Some(text) => Some(text),
            None => {
                section.wrong("env", "this variable is not set");
                None
            }
        },
        (None, Some(path)) => match std::fs::read_to_string(&path) {
            // Editors and `echo` end a file with a line break that is no part of the secret.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                section.wrong("file", format!("cannot be read: {error}"));
                None
            }
        },
        (Some(_), Some(_)) => {
            section.wrong("file", "a secret comes from `env` or from `file`, not from both");
            None
        }
        (None, None) => {
            if !section.has("env") && !section.has("file") {
                section.missing("say where it comes from: env = \"VARIABLE\" or file = \"/path\"");
            }
            None
        }
    }?;
    if text.is_empty() {
        let key = if section.has("env") { "env" } else { "file" };
        section.wrong(key, "the secret there is empty");
        return None;
    }
    Some(Known { secret: Secret::new(text), hosts })
}

fn host(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(text).ok_or_else(|| {
        "takes a host's name or pattern, without scheme, port and path: \"api.example.com\", \"*.example.com\", \"*\""
            .to_owned()
    })
}

fn http(section: &mut Section<'_>) -> HttpRules {
    HttpRules {
        hosts: section.texts("hosts", host),
        private_addresses: section.flag("private_addresses"),
        plain_http: section.flag("plain_http"),
        roots: section.text_as("roots", absolute),
    }
}

fn endpoint(section: &mut Section<'_>) -> Option<Endpoint> {
    let plain_http = section.flag("plain_http");
    let private_addresses = section.flag("private_addresses");
    if !section.has("url") {
        section.missing("say where it is: url = \"https://api.example.com/v1\"");
    }
    let url = section.text_as("url", |url| {
        let rest = url.strip_prefix("https://").or(url.strip_prefix("http://").filter(|_| plain_http));
        let host = rest.map(|rest| rest.split(['/', '?', '#']).next().unwrap_or_default());
        match host {
            None => {
                Err("takes a URL that begins with https:// (or http://, with plain_http = true)".to_owned())
            }
            Some("") => Err("names no host".to_owned()),
            Some(host) if host.contains('@') => {
                Err("must hold no credentials: a job's `auth` names them".to_owned())
            }
            Some(_) if url.contains(['?', '#']) => {
                Err("must have no query: a job's `query` gives it".to_owned())
            }
            Some(_) => Ok(url.to_owned()),
        }
    })?;
    Some(Endpoint { url, private_addresses, plain_http })
}

fn storage(section: &mut Section<'_>) -> Option<Storage> {
    let encrypt_with = section.secret("encrypt_with");
    let decrypt_with = section.texts("decrypt_with", named_secret);
    Some(Storage { place: place(section)?, encrypt_with, decrypt_with })
}

fn place(section: &mut Section<'_>) -> Option<storages::Place> {
    match (section.has("folder"), section.has("url")) {
        (true, false) => {
            for key in BUCKET {
                section.wrong(key, "is for buckets; this storage is a folder");
            }
            section.text_as("folder", absolute).map(storages::Place::Folder)
        }
        (false, true) => bucket(section).map(storages::Place::Bucket),
        (true, true) => {
            section.wrong("url", "a storage is a `folder` or a bucket's `url`, not both");
            None
        }
        (false, false) => {
            section.missing("say where it is: folder = \"/path\" or url = \"s3://bucket/prefix\"");
            None
        }
    }
}

fn bucket(section: &mut Section<'_>) -> Option<Bucket> {
    let plain_http = section.flag("plain_http");
    let url = section.text_as("url", |url| {
        let bucket = url.strip_prefix("s3://").and_then(|rest| rest.split('/').next());
        bucket
            .filter(|bucket| !bucket.is_empty() && !url.contains(['?', '#', '@']))
            .map(|_| url.trim_end_matches('/').to_owned())
            .ok_or_else(|| "takes s3://BUCKET or s3://BUCKET/PREFIX".to_owned())
    });
    let endpoint = section.text_as("endpoint", |url| {
        let ok = url.starts_with("https://") || (plain_http && url.starts_with("http://"));
        if ok && !url.contains('@') {
            return Ok(url.trim_end_matches('/').to_owned());
        }
        Err("takes a URL that begins with https:// (or http://, with plain_http = true), without credentials"
            .to_owned())
    });
    let (access_key_id, secret_access_key) =
        (section.secret("access_key_id"), section.secret("secret_access_key"));
    if section.has("access_key_id") != section.has("secret_access_key") {
        section.missing("access_key_id and secret_access_key go together");
    }
    Some(Bucket {
        url: url?,
        region: section.text("region"),
        endpoint,
        access_key_id,
        secret_access_key,
        virtual_hosted: section.flag("virtual_hosted"),
        plain_http,
    })
}

fn command(section: &mut Section<'_>) -> Option<Command> {
    let argv = section.texts("argv", |text| Ok(text.to_owned()));
    let params = params(section);
    match argv.first() {
        None if section.has("argv") => section.wrong("argv", "names no program"),
        None => section.missing("say what to start: argv = [\"/usr/bin/program\", \"--flag\", \"{param}\"]"),
        Some(program) if !program.starts_with('/') => {
            section.wrong("argv", "the program is named by its absolute path: nothing is searched for");
        }
        Some(program) if program.contains('{') => {
            section.wrong("argv", "the program itself cannot be a parameter")
        }
        Some(_) => {}
    }
    for name in argv.iter().flat_map(|argument| placeholders(argument)) {
        if !params.contains_key(name) {
            section.wrong("argv", format!("{{{name}}} is not declared: params = {{ {name} = \"text\" }}"));
        }
    }
    for name in params.keys() {
        if !argv.iter().any(|argument| placeholders(argument).contains(&name.as_str())) {
            section.wrong("params", format!("{name} is used nowhere in argv: write {{{name}}} there"));
        }
    }
    let limits = Limits {
        cpu_time: section.duration("cpu_time"),
        memory_mib: section.count("memory_mib"),
        open_files: section.count("open_files"),
    };
    Some(Command {
        argv,
        cwd: section.text_as("cwd", absolute),
        env: section.texts("env", variable),
        user: section.text("user"),
        params,
        limits,
        grace: section.duration("grace").unwrap_or(GRACE),
    })
}

fn params(section: &mut Section<'_>) -> BTreeMap<String, CommandParam> {
    let mut params = BTreeMap::new();
    for (name, node) in section.entries("params") {
        let texts = |items: &[Node]| {
            let texts = items.iter().map(|item| match &item.value {
                Value::Text(text) => Some(text.clone()),
                _ => None,
            });
            texts.collect::<Option<Vec<_>>>().filter(|texts| !texts.is_empty())
        };
        let param = match &node.value {
            Value::Text(text) if text == "text" => Some(CommandParam::Text),
            Value::Text(text) if text == "whole" => Some(CommandParam::Whole),
            Value::Array(items) => texts(items).map(CommandParam::OneOf),
            _ => None,
        };
        match param {
            Some(param) => {
                params.insert(name.clone(), param);
            }
            None => {
                let problem = Problem::at(&node.place, format!("{}: params.{name} is wrong", section.name));
                section
                    .problems
                    .push(problem.label("takes \"text\", \"whole\" or an array of allowed texts"));
            }
        }
    }
    params
}

/// The names between braces in an argument.
fn placeholders(argument: &str) -> Vec<&str> {
    argument.split('{').skip(1).filter_map(|rest| rest.split_once('}').map(|(name, _)| name)).collect()
}

fn variable(text: &str) -> Result<String, String> {
    let ok = !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if ok { Ok(text.to_owned()) } else { Err("takes names of variables, not their values".to_owned()) }
}

fn mail(section: &mut Section<'_>) -> Option<Mail> {
    for key in ["url", "from"] {
        if !section.has(key) {
            section.missing(format!("{key} is missing"));
        }
    }
    let url = section.text_as("url", |url| {
        let rest = url.strip_prefix("smtps://").or(url.strip_prefix("smtp://"));
        match rest {
            Some(rest) if rest.contains('@') => {
                Err("must hold no credentials: `user`, and password = \"secret:NAME\"".to_owned())
            }
            Some(rest) if !rest.is_empty() => Ok(url.to_owned()),
            _ => Err("takes smtps://HOST or smtp://HOST?tls=required".to_owned()),
        }
    });
    let from = section.text_as("from", |from| match from.contains('@') {
        true => Ok(from.to_owned()),
        false => Err("takes an address: \"Sexton <sexton@example.com>\"".to_owned()),
    });
    let (user, password) = (section.text("user"), section.secret("password"));
    if section.has("password") && !section.has("user") {
        section.missing("a password needs a `user`");
    }
    Some(Mail { url: url?, user, password, from: from? })
}

fn database(section: &mut Section<'_>) -> Option<Database> {
    if !section.has("conninfo") {
        section.missing("say how to connect: conninfo = \"host=… dbname=…\"");
    }
    let conninfo =
        section.text_as("conninfo", |conninfo| match conninfo.parse::<tokio_postgres::Config>() {
            Ok(config) if config.get_password().is_some() => {
                Err("must hold no password: a password file does".to_owned())
            }
            // What libpq reads and this reader does not (sslrootcert, service) is told when connecting.
            _ => Ok(conninfo.to_owned()),
        })?;
    Some(Database { conninfo })
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    let path = Path::new(text);
    if path.is_absolute() { Ok(path.to_owned()) } else { Err("takes an absolute path".to_owned()) }
}
