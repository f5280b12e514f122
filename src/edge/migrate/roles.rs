//! As whom to migrate: the role that will own what is created.
//!
//! Definer functions have their owner's rights, so that owner should be a role that nobody logs in as and that is no
//! superuser. What is easy to get wrong: roles belong to the whole cluster while the migration lock belongs to one
//! database, so others may create the same roles at the same moment.

use std::time::Duration;

use tokio_postgres::{Client, Row, error::SqlState};

use super::Roles;
use crate::{
    error::{Error, ErrorKind, Result},
    statements,
};

/// The group role that owns the schema.
const OWNER: &str = "sexton_owner";

/// A schema that is to be there.
#[derive(Clone, Copy)]
pub(super) struct Schema {
    pub(super) name: &'static str,
    /// What creates it for the present role.
    create: &'static str,
    /// What creates it for [`OWNER`].
    create_for_owner: &'static str,
    /// What a person types who may.
    command: &'static str,
}

/// All of Sexton.
pub(super) const SEXTON: Schema = Schema {
    name: "sexton",
    create: statements::CREATE_SCHEMA,
    create_for_owner: statements::CREATE_SCHEMA_FOR_OWNER,
    command: "sexton migrate",
};

/// What another database needs.
pub(super) const FENCE: Schema = Schema {
    name: "sexton_fence",
    create: statements::CREATE_FENCE_SCHEMA,
    create_for_owner: statements::CREATE_FENCE_SCHEMA_FOR_OWNER,
    command: "sexton migrate --fence",
};

/// The server and the role that migrates, as first asked.
#[derive(Default)]
pub(super) struct Place {
    pub(super) version: i32,
    pub(super) standby: bool,
    pub(super) lock_timeout: String,
    pub(super) login: String,
    pub(super) may_create_roles: bool,
    pub(super) owner_exists: bool,
    pub(super) owner_member: bool,
    pub(super) schema_owner: Option<String>,
    pub(super) schema_member: Option<bool>,
}

impl Place {
    pub(super) async fn ask(client: &Client, schema: Schema) -> Result<Place> {
        let row: Row = client.query_one(statements::MIGRATION_SERVER, &[&OWNER, &schema.name]).await?;
        Ok(Place {
            version: row.get(0),
            standby: row.get(1),
            lock_timeout: row.get(2),
            login: row.get(3),
            may_create_roles: row.get(4),
            owner_exists: row.get(5),
            owner_member: row.get(6),
            schema_owner: row.get(7),
            schema_member: row.get(8),
        })
    }
}

/// Creates roles and schema as far as they are missing and may be made, and makes the session act as the schema's
/// owner. Returns that role, and what a person should know.
pub(super) async fn become_owner(
    client: &Client,
    place: &Place,
    roles: Roles,
    schema: Schema,
) -> Result<(String, Vec<String>)> {
    let mut notes = Vec::new();
    let groups = roles == Roles::Groups
        && ((place.may_create_roles && create_roles(client).await?)
            || (place.owner_exists && place.owner_member));
    let owner = match (&place.schema_owner, place.schema_member) {
        (Some(owner), Some(true)) => owner.clone(),
        (Some(owner), _) => return Err(not_the_owner(schema, &place.login, owner)),
        (None, _) => {
            let statement = if groups { schema.create_for_owner } else { schema.create };
            let created = client.execute(statement, &[]).await;
            created.map_err(|error| no_right_to_create(error, schema, &place.login))?;
            if groups { OWNER.to_owned() } else { place.login.clone() }
        }
    };
    if owner != OWNER {
        notes.push(match roles {
            Roles::One => format!("everything belongs to the role {owner}, as asked for"),
            Roles::Groups if place.schema_owner.is_some() => {
                format!("the schema belongs to the role {owner} and not to {OWNER}; it stays so")
            }
            Roles::Groups => format!(
                "everything belongs to the role {owner}, since {} may not create the group roles and act as {OWNER}",
                place.login
            ),
        });
    }
    client.execute(statements::ACT_AS, &[&owner]).await?;
    Ok((owner, notes))
}

/// Creates the group roles and becomes a member of the owner's; false if it may not: from version 16 on, only who
/// created that role, or was given it with the admin option, can. Somebody who migrates another database of this cluster
/// may be doing the same.
async fn create_roles(client: &Client) -> Result<bool> {
    let mut tries = 0;
    loop {
        match client.batch_execute(statements::CREATE_ROLES).await {
            Ok(()) => return Ok(true),
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => return Ok(false),
            Err(error) if tries < 50 && is_race(&error) => {
                tries += 1;
                tokio::time::sleep(Duration::from_millis(fastrand::u64(5..50))).await;
            }
            Err(error) => return Err(Error::from(error).about("the group roles")),
        }
    }
}

/// duplicate_object, unique_violation, and "tuple concurrently updated", which has no code of its own.
fn is_race(error: &tokio_postgres::Error) -> bool {
    error.as_db_error().is_some_and(|db| match db.code().code() {
        "42710" | "23505" => true,
        "XX000" => db.message().contains("concurrently"),
        _ => false,
    })
}

fn not_the_owner(schema: Schema, login: &str, owner: &str) -> Error {
    Error::new(
        ErrorKind::Denied,
        format!("the schema {} belongs to {owner}, and {login} is no member of that role", schema.name),
    )
    .with_remedy(format!("migrate as {owner}, or GRANT {owner} TO {login}"))
}

fn no_right_to_create(error: tokio_postgres::Error, schema: Schema, login: &str) -> Error {
    let error = Error::from(error).about(format!("schema {}", schema.name));
    if error.kind() != ErrorKind::Denied {
        return error;
    }
    error.with_remedy(format!(
        "GRANT CREATE ON DATABASE … TO {login}, or have the owner of the database run `{}`",
        schema.command
    ))
}
