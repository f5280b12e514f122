//! The key `notices` of a job: who hears of what.
//!
//! What is easy to get wrong: the database checks the same once more, for rows that no file wrote; here an error points
//! at the very value. Events that are left out are those of a subscription by SQL that names none.

use serde_json::{Map, Value as Json};

use super::{
    keys::nearest,
    sources::{Place, Problem},
    tree::{Node, Table, Value},
};
use crate::protocol::notice::{Channel, EVENTS};

const KEYS: [&str; 2] = ["on", "to"];

/// Reads the items; what is wrong with them becomes problems.
pub(super) fn read(job: &str, items: &[Node], problems: &mut Vec<Problem>) -> Json {
    let read = |node: &Node| match &node.value {
        Value::Table(table) => Item { job, place: &node.place, problems }.read(table),
        other => {
            let problem = Problem::at(&node.place, format!("job {job}: notices is wrong"));
            problems.push(problem.label(format!("takes {{ to = \"…\", on = […] }}, not {}", other.what())));
            Json::Null
        }
    };
    items.iter().map(read).collect::<Vec<_>>().into()
}

struct Item<'a> {
    job: &'a str,
    place: &'a Place,
    problems: &'a mut Vec<Problem>,
}

impl Item<'_> {
    fn read(&mut self, table: &Table) -> Json {
        for (key, (place, _)) in table.iter().filter(|(key, _)| !KEYS.contains(&key.as_str())) {
            let problem = Problem::at(place, format!("job {}: notices: unknown key `{key}`", self.job));
            self.problems.push(problem.suggest(nearest(key, KEYS), &KEYS.join(", ")));
        }
        let on = match table.get("on") {
            Some((_, node)) => self.events(node),
            None => EVENTS.iter().filter(|event| event.default).map(|event| event.name.into()).collect(),
        };
        let to = match table.get("to") {
            Some((_, node)) => self.channel(node),
            None => {
                self.wrong(self.place, "to is missing: \"mail:ADDRESS\", \"mail:NAME\" or \"webhook:NAME\"");
                Json::Null
            }
        };
        Map::from_iter([("on".to_owned(), Json::Array(on)), ("to".to_owned(), to)]).into()
    }

    fn wrong(&mut self, place: &Place, label: &str) {
        let problem = Problem::at(place, format!("job {}: notices is wrong", self.job));
        self.problems.push(problem.label(label));
    }

    fn channel(&mut self, node: &Node) -> Json {
        match &node.value {
            Value::Text(text) if Channel::parse(text).is_some() => {}
            _ => self.wrong(&node.place, "takes \"mail:ADDRESS\", \"mail:NAME\" or \"webhook:NAME\""),
        }
        node.json()
    }

    /// One event, or an array of them.
    fn events(&mut self, node: &Node) -> Vec<Json> {
        let items = match &node.value {
            Value::Array(items) => items.as_slice(),
            _ => std::slice::from_ref(node),
        };
        if items.is_empty() {
            self.wrong(&node.place, "names no event; leave it out for the usual ones");
        }
        items.iter().map(|item| self.event(item)).collect()
    }

    fn event(&mut self, node: &Node) -> Json {
        let known: Vec<&str> = EVENTS.iter().map(|event| event.name).collect();
        match &node.value {
            Value::Text(text) if known.contains(&text.as_str()) => {}
            Value::Text(text) => {
                let problem =
                    Problem::at(&node.place, format!("job {}: notices: unknown event `{text}`", self.job));
                self.problems.push(problem.suggest(nearest(text, known.iter().copied()), &known.join(", ")));
            }
            other => self.wrong(&node.place, &format!("takes an event, not {}", other.what())),
        }
        node.json()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::read;

    #[test]
    fn what_is_wrong_with_notices_is_shown_at_the_very_value() {
        let text = |notices: &str| {
            format!("[jobs.a]\nnotices = {notices}\n[jobs.a.sweep]\ntable = \"t\"\nretention = \"1 day\"\n")
        };
        let config = read(&[(
            "sexton.toml",
            &text(r#"[{ to = "mail:ops@example.org" }, { to = "webhook:cdn", on = "succeeded" }]"#),
        )])
        .expect("it is good");
        let read_as = &config.jobs()[0].columns()["notices"];
        assert_eq!(read_as[1], serde_json::json!({"on": ["succeeded"], "to": "webhook:cdn"}));
        assert!(
            read_as[0]["on"]
                .as_array()
                .is_some_and(|on| on.contains(&"failed".into()) && !on.contains(&"started".into()))
        );
        for (notices, said) in [
            (r#"[{ to = "mail:a@b.example", on = ["faild"] }]"#, "did you mean `failed`?"),
            (r#"[{ to = "ops@example.org" }]"#, "takes \"mail:ADDRESS\""),
            (r#"[{ on = ["failed"] }]"#, "to is missing"),
            (r#"[{ to = "webhook:cdn", no = ["failed"] }]"#, "unknown key `no`"),
            (r#"[{ to = "webhook:cdn", on = [] }]"#, "names no event"),
            (r#"["failed"]"#, "not a string"),
            (r#""mail:a@b.example""#, "takes an array of tables"),
        ] {
            let problems = read(&[("sexton.toml", &text(notices))]).expect_err("it is wrong").to_string();
            assert!(problems.contains("job a: notices") && problems.contains(said), "{notices}: {problems}");
        }
    }
}
