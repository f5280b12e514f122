//! What a replica knows locally and no row of the database may hold: secrets, hosts, storages, commands, mail.
//!
//! A job names these; what stands behind a name is read from the replica's local file. The types here are plain data and
//! always compiled, so that the file can be read by any build; the clients beside them stand behind the features `http`,
//! `mail`, `backup` and `command`. What is easy to get wrong: the contents are replaced as a whole when the file is read
//! again (SIGHUP). Take [`Outside::contents`] once for a piece of work and keep it, so that one call never mixes two
//! states of the file.

pub mod commands;
pub mod databases;
pub mod http;
pub mod mail;
#[cfg(feature = "command")]
pub mod process;
pub mod secrets;
pub mod storages;
pub mod webhooks;
#[cfg(feature = "backup")]
pub mod storage;
#[cfg(feature = "backup")]
pub mod backup;
#[cfg(feature = "backup")]
pub mod archive;

use std::{collections::BTreeMap, sync::Arc};

use tokio::sync::watch;

pub use self::{
    commands::Command,
    databases::Database,
    http::{Endpoint, HttpRules},
    mail::Mail,
    secrets::{Secret, Secrets},
    storages::Storage,
    webhooks::Webhook,
};

/// What the local file says, as one state of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// `[secrets.NAME]`.
    pub secrets: Secrets,
    /// `[http]`.
    pub http: HttpRules,
    /// `[endpoints.NAME]`.
    pub endpoints: BTreeMap<String, Endpoint>,
    /// `[storages.NAME]`.
    pub storages: BTreeMap<String, Storage>,
    /// `[commands.NAME]`.
    pub commands: BTreeMap<String, Command>,
    /// `[mail]`.
    pub mail: Option<Mail>,
    /// `[recipients.NAME]`: the mail addresses that the channel `mail:NAME` stands for.
    pub recipients: BTreeMap<String, Vec<String>>,
    /// `[webhooks.NAME]`.
    pub webhooks: BTreeMap<String, Webhook>,
    /// `[databases.NAME]`.
    pub databases: BTreeMap<String, Database>,
}

impl Contents {
    /// The names in it that jobs may need, as `kind::Need` writes them: `secret:NAME`, `host:*.example.com`, `mail`.
    pub fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        names.extend(self.secrets.names().map(|name| format!("secret:{name}")));
        names.extend(self.http.hosts.iter().map(|host| format!("host:{host}")));
        names.extend(self.endpoints.keys().map(|name| format!("endpoint:{name}")));
        names.extend(self.storages.keys().map(|name| format!("storage:{name}")));
        names.extend(self.commands.keys().map(|name| format!("command:{name}")));
        names.extend(self.mail.iter().map(|_| "mail".to_owned()));
        names.extend(self.recipients.keys().map(|name| format!("mail:{name}")));
        names.extend(self.webhooks.keys().map(|name| format!("webhook:{name}")));
        names.extend(self.databases.keys().map(|name| format!("database:{name}")));
        names.sort();
        names
    }
}

/// The present contents, shared by all that work in this process. Cheap to clone. Default: empty.
#[derive(Clone, Debug)]
pub struct Outside {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    contents: watch::Sender<Arc<Contents>>,
    names: watch::Sender<Vec<String>>,
    /// The client by the contents that it was made from.
    #[cfg(feature = "http")]
    client: std::sync::Mutex<Option<(Arc<Contents>, Arc<http::Client>)>>,
}

impl Default for Outside {
    fn default() -> Self {
        Self::new(Contents::default())
    }
}

impl Outside {
    /// Begins with these contents.
    pub fn new(contents: Contents) -> Self {
        let names = watch::Sender::new(contents.names());
        let contents = watch::Sender::new(Arc::new(contents));
        Outside {
            shared: Arc::new(Shared {
                contents,
                names,
                #[cfg(feature = "http")]
                client: std::sync::Mutex::default(),
            }),
        }
    }

    /// The present contents. They do not change under whoever holds them.
    pub fn contents(&self) -> Arc<Contents> {
        Arc::clone(&self.shared.contents.borrow())
    }

    /// The HTTP client by the present contents; the same one while they last, with its connections.
    ///
    /// # Errors
    /// If the certificates that `[http]` names cannot be read.
    #[cfg(feature = "http")]
    pub fn http(&self) -> crate::error::Result<Arc<http::Client>> {
        let contents = self.contents();
        let mut made = self.shared.client.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some((of, client)) = &*made
            && Arc::ptr_eq(of, &contents)
        {
            return Ok(Arc::clone(client));
        }
        let client = Arc::new(http::Client::new(Arc::clone(&contents))?);
        *made = Some((contents, Arc::clone(&client)));
        Ok(client)
    }

    /// Puts other contents in their place; what is under way goes on with those that it took.
    pub fn replace(&self, contents: Contents) {
        let names = contents.names();
        self.shared.contents.send_replace(Arc::new(contents));
        self.shared.names.send_replace(names);
    }

    /// Follows the names in the contents; see [`Contents::names`].
    pub fn names(&self) -> watch::Receiver<Vec<String>> {
        self.shared.names.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_holds_contents_keeps_them_and_who_asks_again_gets_the_new_ones() {
        let outside = Outside::default();
        let (before, names) = (outside.contents(), outside.names());
        let mail =
            Mail { url: "smtp://localhost".into(), user: None, password: None, from: "a@b.example".into() };
        outside.clone().replace(Contents { mail: Some(mail), ..Contents::default() });
        assert_eq!(before.mail, None);
        assert!(outside.contents().mail.is_some());
        assert_eq!(*names.borrow(), ["mail"]);
    }
}
