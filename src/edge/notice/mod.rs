//! Sends notices: to mail addresses by the local file's mail server, to webhooks of the local file.
mod text;
