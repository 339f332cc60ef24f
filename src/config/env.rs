//! Where do settings come from? [`Vars`] reads them by name and collects every problem it meets, so
//! that a start that fails says all there is to mend at once. This is the only file that reads the
//! process environment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::path::Path;

/// A value that must not be seen: it has no `Debug`, no `Display` and no `Serialize`.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a secret that can be printed will be")]
pub struct Secret(Box<str>);

impl Secret {
    /// Wraps a value that must not be seen.
    pub fn new(value: impl Into<Box<str>>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one call that needs it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// One thing that is wrong with the configuration. It names the variable and what it should look
/// like, never its value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Problem {
    /// The variable's name.
    pub variable: String,
    /// What is wrong, or what the variable should look like.
    pub expected: String,
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.variable, self.expected)
    }
}

/// The variables of one configuration, and the problems found in them so far.
#[expect(missing_debug_implementations, reason = "it can look up secrets")]
pub struct Vars<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    read_file: &'a dyn Fn(&Path) -> io::Result<String>,
    unreadable: &'a [String],
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Vars<'a> {
    /// Reads variables through `lookup`. An empty value counts as an unset one.
    #[must_use]
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self {
            lookup,
            read_file: &|path: &Path| std::fs::read_to_string(path),
            unreadable: &[],
            problems: RefCell::default(),
        }
    }

    /// Reads the files that variables name through `read_file`, in place of the file system.
    #[must_use]
    pub fn with_files(self, read_file: &'a dyn Fn(&Path) -> io::Result<String>) -> Self {
        Self { read_file, ..self }
    }

    /// Names the variables that are set and hold no text: reading one is a problem, and it counts
    /// as unset.
    #[must_use]
    pub fn with_unreadable(self, unreadable: &'a [String]) -> Self {
        Self { unreadable, ..self }
    }

    /// The same variables, with a list of problems of their own.
    #[must_use]
    pub fn unheard(&self) -> Self {
        Self { problems: RefCell::default(), ..*self }
    }

    /// The text of a variable, if it is set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        if self.unreadable.iter().any(|unreadable| unreadable == name) {
            if !self.problems.borrow().iter().any(|problem| problem.variable == name) {
                self.problem(name, "must be UTF-8 text");
            }
            return None;
        }
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable that may be unset. A value that `parse` refuses is a problem, worded by
    /// `expected` ("a whole number from 1 to 600"), and counts as unset.
    pub fn optional<T>(
        &self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let value = self.text(name)?;
        let parsed = parse(value.trim());
        if parsed.is_none() {
            self.problem(name, format!("must be {expected}"));
        }
        parsed
    }

    /// A variable with a default.
    pub fn or<T>(
        &self,
        name: &str,
        default: T,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> T {
        self.optional(name, expected, parse).unwrap_or(default)
    }

    /// A whole number within bounds, or the default.
    pub fn number(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> u64 {
        let expected = match *bounds.end() {
            u64::MAX => format!("a whole number of {} or more", bounds.start()),
            end => format!("a whole number from {} to {end}", bounds.start()),
        };
        self.or(name, default, &expected, |text| text.parse().ok().filter(|n| bounds.contains(n)))
    }

    /// `on` or `off`, or the default.
    pub fn switch(&self, name: &str, default: bool) -> bool {
        self.or(name, default, "`on` or `off`", |text| match text {
            "on" => Some(true),
            "off" => Some(false),
            _ => None,
        })
    }

    /// The items of a comma-separated list, trimmed; empty ones are dropped. Unset is an empty
    /// list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A secret from `NAME`, or from the file that `NAME_FILE` names; one final newline of the file
    /// is dropped. Both at once, or a file that can't be read, is a problem.
    pub fn secret(&self, name: &str) -> Option<Secret> {
        let file_name = format!("{name}_FILE");
        match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.problem(name, format!("is set together with {file_name}: set one of the two"));
                None
            }
            (Some(value), None) => Some(Secret::new(value)),
            (None, Some(path)) => self.secret_file(&file_name, Path::new(&path)),
            (None, None) => None,
        }
    }

    fn secret_file(&self, file_name: &str, path: &Path) -> Option<Secret> {
        let text = self.file(file_name, path)?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        (!text.is_empty()).then(|| Secret::new(text))
    }

    /// The text of the file that the variable names. One that can't be read is a problem.
    #[must_use]
    pub fn file(&self, name: &str, path: &Path) -> Option<String> {
        let refused = |error: io::Error| {
            self.problem(name, format!("must name a readable UTF-8 file ({})", error.kind()));
        };
        self.read_file(path).map_err(refused).ok()
    }

    /// The text of a file that is named by something else than a variable.
    ///
    /// # Errors
    /// When the file can't be read, or is not UTF-8.
    pub fn read_file(&self, path: &Path) -> io::Result<String> {
        (self.read_file)(path)
    }

    /// A key of ours: a secret of 32 bytes or more.
    pub fn key(&self, name: &str) -> Option<Secret> {
        let secret = self.secret(name)?;
        if secret.expose().len() < 32 {
            self.problem(name, "must have 32 bytes or more: `openssl rand -hex 32` makes one");
            return None;
        }
        Some(secret)
    }

    /// Notes a problem with the variable, once: several subjects may read it.
    pub fn problem(&self, variable: &str, expected: impl Into<String>) {
        let problem = Problem { variable: variable.to_owned(), expected: expected.into() };
        let mut problems = self.problems.borrow_mut();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }

    /// Whether a problem was noted with the variable or with its file: tells one that is missing
    /// from one that is bad.
    #[must_use]
    pub fn is_blamed(&self, name: &str) -> bool {
        let blamed = |problem: &Problem| {
            problem
                .variable
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest == "_FILE")
        };
        self.problems.borrow().iter().any(blamed)
    }

    /// Every problem noted so far.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// The variables of this process.
#[derive(Default)]
#[expect(missing_debug_implementations, reason = "it holds secrets")]
pub struct Environment {
    values: HashMap<String, String>,
    unreadable: Vec<String>,
}

impl Environment {
    /// The variables of this process, completed by those of a `.env` file in the working folder,
    /// which never override.
    ///
    /// # Errors
    /// A `.env` file that exists and can't be read or parsed is a problem that names the file.
    pub fn of_process() -> Result<Self, Problem> {
        let mut environment = Self::default();
        environment.read_dotenv(Path::new(".env")).map_err(|()| dotenv_problem())?;
        for (name, value) in std::env::vars_os() {
            let Ok(name) = name.into_string() else { continue };
            match value.into_string() {
                Ok(value) => environment.set(&name, value),
                Err(_) => {
                    environment.values.remove(&name);
                    environment.unreadable.push(name);
                }
            }
        }
        Ok(environment)
    }

    fn read_dotenv(&mut self, file: &Path) -> Result<(), ()> {
        // Not dotenvy's own search: it goes on to the parent folders.
        let entries = match dotenvy::from_path_iter(file) {
            Ok(_) if file.is_dir() => return Ok(()),
            Ok(entries) => entries,
            Err(error) if error.not_found() => return Ok(()),
            Err(_) => return Err(()),
        };
        for entry in entries {
            let (name, value) = entry.map_err(|_| ())?;
            self.values.entry(name).or_insert(value);
        }
        Ok(())
    }

    /// Sets a variable, or changes it.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.values.insert(name.to_owned(), value.into());
    }

    /// Sets a variable that is not set.
    pub fn set_default(&mut self, name: &str, value: impl Into<String>) {
        if !self.has(name) {
            self.set(name, value);
        }
    }

    /// What a variable is set to.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    /// Whether the variable, or the one that names its file, is set to more than nothing.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let is_set = |name: &str| {
            self.values.get(name).is_some_and(|value| !value.is_empty())
                || self.unreadable.iter().any(|unreadable| unreadable == name)
        };
        is_set(name) || is_set(&format!("{name}_FILE"))
    }

    /// The names of all that are set, also to nothing.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.keys().chain(&self.unreadable).map(String::as_str)
    }

    /// Reads with `read`, and returns what it made of the variables.
    ///
    /// # Errors
    /// Every problem that it noted.
    pub fn read<T>(&self, read: impl FnOnce(&Vars<'_>) -> T) -> Result<T, Vec<Problem>> {
        let lookup = |name: &str| self.values.get(name).cloned();
        let vars = Vars::new(&lookup).with_unreadable(&self.unreadable);
        let made = read(&vars);
        let problems = vars.into_problems();
        if problems.is_empty() { Ok(made) } else { Err(problems) }
    }
}

fn dotenv_problem() -> Problem {
    Problem {
        variable: ".env".to_owned(),
        expected: "must be readable lines of NAME=value".to_owned(),
    }
}
