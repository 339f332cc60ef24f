//! Where do settings come from? [`Vars`] reads them by name and collects every problem it meets, so that a start
//! that fails says all there is to mend at once. This is the only file that reads the process environment.

use std::cell::RefCell;
use std::collections::HashMap;
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

/// One thing that is wrong with the configuration. It names the variable and what it should look like, never its value.
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
    problems: RefCell<Vec<Problem>>,
}

impl<'a> Vars<'a> {
    /// Reads variables through `lookup`. An empty value counts as an unset one.
    #[must_use]
    pub fn new(lookup: &'a dyn Fn(&str) -> Option<String>) -> Self {
        Self { lookup, problems: RefCell::default() }
    }

    /// The text of a variable, if it is set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.is_empty())
    }

    /// A variable that may be unset. A value that `parse` refuses is a problem, worded by `expected`
    /// ("a whole number from 1 to 600"), and counts as unset.
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
    pub fn or<T>(&self, name: &str, default: T, expected: &str, parse: impl FnOnce(&str) -> Option<T>) -> T {
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

    /// The items of a comma-separated list, trimmed; empty ones are dropped. Unset is an empty list.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
    }

    /// A secret from `NAME`, or from the file that `NAME_FILE` names; one final newline of the file is dropped.
    /// Both at once, or a file that can't be read, is a problem.
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
        match std::fs::read_to_string(path) {
            Ok(text) => {
                let text = text.strip_suffix('\n').unwrap_or(&text);
                let text = text.strip_suffix('\r').unwrap_or(text);
                (!text.is_empty()).then(|| Secret::new(text))
            }
            Err(error) => {
                self.problem(file_name, format!("must name a readable UTF-8 file ({})", error.kind()));
                None
            }
        }
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

    /// Notes a problem with the variable.
    pub fn problem(&self, variable: &str, expected: impl Into<String>) {
        self.problems.borrow_mut().push(Problem { variable: variable.to_owned(), expected: expected.into() });
    }

    /// Whether a problem was noted with the variable or with its file: tells one that is missing from one that is bad.
    #[must_use]
    pub fn is_blamed(&self, name: &str) -> bool {
        let blamed = |problem: &Problem| {
            problem.variable.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest == "_FILE")
        };
        self.problems.borrow().iter().any(blamed)
    }

    /// Every problem noted so far.
    #[must_use]
    pub fn into_problems(self) -> Vec<Problem> {
        self.problems.into_inner()
    }
}

/// The variables of this process, completed by those of a `.env` file in the working folder, which never override.
///
/// # Errors
/// A `.env` file that exists and can't be read or parsed is a problem that names the file.
pub fn process_vars() -> Result<HashMap<String, String>, Problem> {
    let mut vars = HashMap::new();
    // Not dotenvy's own search: it goes on to the parent folders.
    let file = Path::new(".env");
    match dotenvy::from_path_iter(file) {
        Ok(_) if file.is_dir() => {}
        Ok(entries) => {
            for entry in entries {
                let (name, value) = entry.map_err(|_| dotenv_problem())?;
                vars.entry(name).or_insert(value);
            }
        }
        Err(error) if error.not_found() => {}
        Err(_) => return Err(dotenv_problem()),
    }
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            vars.insert(name, value);
        }
    }
    Ok(vars)
}

fn dotenv_problem() -> Problem {
    Problem { variable: ".env".to_owned(), expected: "must be readable lines of NAME=value".to_owned() }
}
