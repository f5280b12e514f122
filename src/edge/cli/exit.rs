//! How a command ends: its exit code, and how an error is told.
//!
//! What is easy to get wrong: which code an error gets is decided here alone, from its kind. Scripts rely on it: 4 means
//! that trying again later may help, 3 that a person must decide, 2 that the same call will never work.

use std::{io::Write, process::ExitCode};

use anstyle::{AnsiColor, Style};

use crate::error::{Error, ErrorKind};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: it, or something that it ran, failed.
    Failed,
    /// 2: wrong usage or input.
    Usage,
    /// 3: refused, or left alone for a person to decide.
    Refused,
    /// 4: the database could not be reached.
    Unreachable,
    /// That of the command which ran.
    Of(u8),
}

impl From<ErrorKind> for Exit {
    fn from(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::Unreachable => Exit::Unreachable,
            ErrorKind::Invalid | ErrorKind::NotFound => Exit::Usage,
            ErrorKind::Refused => Exit::Refused,
            ErrorKind::Denied
            | ErrorKind::Schema
            | ErrorKind::Unsuitable
            | ErrorKind::Database
            | ErrorKind::Outside => Exit::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unreachable => 4,
            Exit::Of(code) => code,
        })
    }
}

/// Tells an error: what it is about and what is wrong, then what helps.
pub(super) fn tell(error: &Error) -> Exit {
    const RED: Style = AnsiColor::Red.on_default().bold();
    const CYAN: Style = AnsiColor::Cyan.on_default().bold();
    let mut stderr = anstream::stderr().lock();
    let text = error.to_string();
    // Whether anybody reads it does not change how the command ended.
    let _ = writeln!(stderr, "{RED}error:{RED:#} {}", text.trim_end());
    // The server says which right is missing, and seldom how to get it.
    let denied =
        (error.kind() == ErrorKind::Denied).then_some("`sexton doctor` says which rights this role lacks.");
    if let Some(remedy) = error.remedy().or(denied) {
        let _ = writeln!(stderr, "{CYAN}help:{CYAN:#} {}", remedy.trim_end());
    }
    error.kind().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_documentation() {
        let codes = [
            (ErrorKind::Invalid, Exit::Usage),
            (ErrorKind::NotFound, Exit::Usage),
            (ErrorKind::Refused, Exit::Refused),
            (ErrorKind::Unreachable, Exit::Unreachable),
            (ErrorKind::Schema, Exit::Failed),
            (ErrorKind::Denied, Exit::Failed),
        ];
        for (kind, exit) in codes {
            assert_eq!(Exit::from(kind), exit, "{kind:?}");
        }
    }
}
