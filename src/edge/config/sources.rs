//! The files as they were read, places in them, and what is wrong there, shown with the very line.
//!
//! What is easy to get wrong: spans are byte offsets for whoever underlines, columns are characters for people.

use std::{fmt, ops::Range, path::PathBuf, sync::Arc};

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::error::Error;

/// The texts of the files, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(super) struct Sources {
    files: Vec<(PathBuf, String)>,
}

impl Sources {
    pub(super) fn add(&mut self, path: PathBuf, text: String) -> usize {
        self.files.push((path, text));
        self.files.len() - 1
    }

    pub(super) fn text(&self, file: usize) -> &str {
        &self.files[file].1
    }

    /// What stands at a place.
    pub(super) fn slice(&self, place: &Place) -> &str {
        self.text(place.file).get(place.span.clone()).unwrap_or_default()
    }

    /// Where that is, for people.
    pub(super) fn location(&self, place: &Place) -> Location {
        let (path, text) = &self.files[place.file];
        let before = &text[..place.span.start.min(text.len())];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        Location {
            file: path.clone(),
            line: 1 + before.matches('\n').count(),
            column: 1 + before[line_start..].chars().count(),
        }
    }
}

/// A piece of a file: which one, and its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) span: Range<usize>,
}

/// Where something stands, counted from 1.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Location {
    /// The file, as it was given.
    pub file: PathBuf,
    /// Its line.
    pub line: usize,
    /// The character within the line.
    pub column: usize,
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// One thing that is wrong with a file.
#[derive(Clone, Debug)]
pub struct Problem {
    pub(super) place: Option<Place>,
    pub(super) message: String,
    pub(super) label: String,
    pub(super) notes: Vec<String>,
    pub(super) remedy: Option<String>,
}

impl Problem {
    pub(super) fn at(place: &Place, message: impl Into<String>) -> Self {
        Problem { place: Some(place.clone()), ..Self::nowhere(message) }
    }

    /// One that no single place stands for.
    pub(super) fn nowhere(message: impl Into<String>) -> Self {
        let message = message.into();
        Problem { place: None, message, label: String::new(), notes: Vec::new(), remedy: None }
    }

    /// What is said right below the caret.
    pub(super) fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    pub(super) fn note(mut self, note: Option<String>) -> Self {
        self.notes.extend(note);
        self
    }

    pub(super) fn remedy(mut self, remedy: Option<impl Into<String>>) -> Self {
        self.remedy = remedy.map(Into::into);
        self
    }

    /// Says what was likely meant, or else what there is.
    pub(super) fn suggest(self, near: Option<&str>, known: &str) -> Self {
        match near {
            Some(near) => self.label(format!("did you mean `{near}`?")),
            None => self.label("not known").remedy(Some(format!("known: {known}"))),
        }
    }

    /// What is wrong, without place and remedy.
    pub fn message(&self) -> &str {
        &self.message
    }
}

/// Whether text may hold escape sequences for colors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colors {
    /// None.
    Plain,
    /// ANSI sequences.
    Ansi,
}

/// All that is wrong with the files: never empty.
#[derive(Debug)]
pub struct Problems {
    sources: Arc<Sources>,
    all: Vec<Problem>,
}

impl Problems {
    /// In the order in which they stand in the files.
    pub(super) fn new(sources: Arc<Sources>, mut all: Vec<Problem>) -> Self {
        all.sort_by_key(|problem| problem.place.as_ref().map(|place| (place.file, place.span.start)));
        Problems { sources, all }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.all.iter()
    }

    /// Where a problem stands, if anywhere.
    pub fn location(&self, problem: &Problem) -> Option<Location> {
        problem.place.as_ref().map(|place| self.sources.location(place))
    }

    /// All of them as a terminal shows them, each with the line that it is about.
    pub fn render(&self, colors: Colors) -> String {
        let renderer = match colors {
            Colors::Plain => Renderer::plain(),
            Colors::Ansi => Renderer::styled(),
        };
        let rendered: Vec<String> =
            self.all.iter().map(|problem| self.render_one(problem, &renderer)).collect();
        rendered.join("\n\n")
    }

    fn render_one(&self, problem: &Problem, renderer: &Renderer) -> String {
        let title = Level::ERROR.primary_title(problem.message.as_str());
        let path = problem.place.as_ref().map(|place| self.sources.files[place.file].0.display().to_string());
        let mut group = match &problem.place {
            Some(place) => {
                let annotation =
                    AnnotationKind::Primary.span(place.span.clone()).label(problem.label.as_str());
                let snippet =
                    Snippet::source(self.sources.text(place.file)).path(path).annotation(annotation);
                title.element(snippet)
            }
            None => Group::with_title(title),
        };
        for note in &problem.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        if let Some(remedy) = &problem.remedy {
            group = group.element(Level::HELP.message(remedy.as_str()));
        }
        renderer.render(&[group]).to_string()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(Colors::Plain))
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let count = match problems.all.len() {
            1 => "one error".to_owned(),
            count => format!("{count} errors"),
        };
        Error::invalid(format!("{count}\n{problems}")).about("configuration")
    }
}
