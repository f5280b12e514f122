//! The other databases of the local file: whether jobs could work there.

use super::{Finding, row};
use crate::{edge, error::Result, outside::Outside, protocol::connect::Connector, statements};

/// A line for each.
pub(super) async fn check(outside: &Outside) -> Vec<Finding> {
    let databases = edge::databases::of(outside);
    let mut findings = Vec::new();
    for name in outside.contents().databases.keys() {
        let Some(connector) = databases.find(name) else { continue };
        findings.push(match look(name, &connector).await {
            Ok(finding) => finding,
            Err(error) => Finding::failed("other databases", &error.about(format!("database \"{name}\""))),
        });
    }
    findings
}

async fn look(name: &str, connector: &Connector) -> Result<Finding> {
    let session = connector.open("sexton/doctor", &[]).await?;
    let found = row(&session.client, statements::CHECK_FENCE).await?;
    let (login, there, may, standby): (String, bool, bool, bool) =
        (found.get("login"), found.get("there"), found.get("may"), found.get("standby"));
    let fail = |message: String, remedy: String| Finding::fail("other databases", message, remedy);
    Ok(match (standby, there, may) {
        (true, ..) => fail(
            format!("{name} is a standby: nothing can be maintained there"),
            "Name its primary; with several hosts, target_session_attrs=read-write finds it.".to_owned(),
        ),
        (_, false, _) => fail(
            format!("{name} has no schema sexton_fence that this program can work with"),
            "`sexton migrate --fence --database …` creates it, as a role that may create schemas there."
                .to_owned(),
        ),
        (.., false) => fail(
            format!("{login} may not use the schema sexton_fence of {name}"),
            format!("GRANT sexton_runner TO {login}, there."),
        ),
        _ => Finding::ok("other databases", format!("{name} is reached as {login}, and has its fence")),
    })
}
