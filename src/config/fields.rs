//! What does a table of a TOML file hold? [`Fields`] hands out its keys one by one, notes what is
//! wrong with each under the variable that names the file, and at the end every key that nobody
//! asked for. It never shows a value.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::env::Vars;

/// A table whose keys are taken out one by one.
pub(super) struct Fields<'a> {
    vars: &'a Vars<'a>,
    /// The variable that names the file.
    variable: &'static str,
    /// Where in the file the table stands: `agents.support`; empty for the file itself.
    path: String,
    table: Table,
    asked: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// The top of a file. One that is no TOML is a problem that names the line.
    pub(super) fn parse(vars: &'a Vars<'a>, variable: &'static str, text: &str) -> Option<Self> {
        match toml::from_str::<Table>(text) {
            Ok(table) => {
                Some(Self { vars, variable, path: String::new(), table, asked: Vec::new() })
            }
            Err(error) => {
                let before =
                    error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
                let line = before.matches('\n').count() + 1;
                vars.problem(
                    variable,
                    format!("names a file that is no TOML: line {line}: {}", error.message()),
                );
                None
            }
        }
    }

    fn within(&self, path: String, table: Table) -> Self {
        Self { vars: self.vars, variable: self.variable, path, table, asked: Vec::new() }
    }

    /// Whether the key is there, whatever it holds.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Whether the key holds a list with something in it.
    pub(super) fn is_list(&self, key: &str) -> bool {
        self.table.get(key).and_then(Value::as_array).is_some_and(|items| !items.is_empty())
    }

    /// A key that may be left out. A value that `read` refuses is a problem, and counts as left
    /// out.
    pub(super) fn optional<T>(
        &mut self,
        key: &'static str,
        expected: &str,
        read: impl FnOnce(Value) -> Option<T>,
    ) -> Option<T> {
        self.asked.push(key);
        let made = read(self.table.remove(key)?);
        if made.is_none() {
            self.problem(key, &format!("must be {expected}"));
        }
        made
    }

    /// A text with something in it.
    pub(super) fn text(&mut self, key: &'static str, expected: &str) -> Option<String> {
        self.optional(key, expected, |value| match value {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => None,
        })
    }

    /// A number within bounds, whole or not.
    pub(super) fn number(
        &mut self,
        key: &'static str,
        bounds: std::ops::RangeInclusive<f64>,
    ) -> Option<f64> {
        let expected = format!("a number from {} to {}", bounds.start(), bounds.end());
        let number = |value: Value| match value {
            Value::Float(number) => Some(number),
            Value::Integer(number) => i32::try_from(number).ok().map(f64::from),
            _ => None,
        };
        self.optional(key, &expected, |value| {
            number(value).filter(|number| bounds.contains(number))
        })
    }

    /// A whole number of at least so many.
    pub(super) fn count(&mut self, key: &'static str, least: u32) -> Option<u32> {
        self.optional(key, &format!("a whole number of {least} or more"), |value| {
            let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
            number.filter(|number| *number >= least)
        })
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.optional(key, "`true` or `false`", |value| value.as_bool())
    }

    /// A table within this one.
    pub(super) fn table(&mut self, key: &'static str) -> Option<Self> {
        let table = self.optional(key, "a table", into_table)?;
        Some(self.within(self.path_of(key), table))
    }

    /// An array of tables: `[[key]]`. Left out, it is empty.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Self> {
        let tables = self.optional(key, "tables, each under `[[…]]`", |value| match value {
            Value::Array(items) => items.into_iter().map(into_table).collect::<Option<Vec<_>>>(),
            _ => None,
        });
        let path = self.path_of(key);
        let numbered = (1..).zip(tables.unwrap_or_default());
        numbered.map(|(number, table)| self.within(format!("{path}[{number}]"), table)).collect()
    }

    /// Every table within this one, by its name. What is no table is a problem.
    pub(super) fn named_tables(self) -> Vec<(String, Self)> {
        let mut found = Vec::new();
        for (name, value) in self.table.clone() {
            match into_table(value) {
                Some(table) => {
                    let path = self.path_of(&name);
                    found.push((name, self.within(path, table)));
                }
                None => self.problem(&name, "must be a table"),
            }
        }
        found
    }

    /// All that is left, as JSON. A number that JSON has not is a problem.
    pub(super) fn into_json(self) -> Option<Json> {
        let json = to_json(Value::Table(self.table.clone()));
        if json.is_none() {
            self.note("holds a number that JSON has not");
        }
        json
    }

    /// Notes a problem with each key that nobody asked for.
    pub(super) fn finish(self) {
        for key in self.table.keys() {
            let known = self.asked.iter().filter(|known| is_near(key, known));
            let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(key, known));
            let hint =
                nearest.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
            self.problem(key, &format!("is not a key that is known here{hint}"));
        }
    }

    /// Notes a problem with a key.
    pub(super) fn problem(&self, key: &str, expected: &str) {
        self.vars.problem(self.variable, format!("`{}` {expected}", self.path_of(key)));
    }

    /// Notes a problem with the table itself.
    pub(super) fn note(&self, expected: &str) {
        self.vars.problem(self.variable, format!("`{}` {expected}", self.path));
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Whether one may have meant the other: a slip of the hand, or a part of the word.
fn is_near(key: &str, known: &str) -> bool {
    let slips = strsim::damerau_levenshtein(key, known);
    slips <= 1 + key.chars().count() / 3 || known.starts_with(key) || key.starts_with(known)
}

fn into_table(value: Value) -> Option<Table> {
    match value {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

/// A date becomes its text.
fn to_json(value: Value) -> Option<Json> {
    Some(match value {
        Value::String(text) => Json::String(text),
        Value::Integer(number) => number.into(),
        Value::Float(number) => Json::Number(serde_json::Number::from_f64(number)?),
        Value::Boolean(flag) => Json::Bool(flag),
        Value::Datetime(time) => Json::String(time.to_string()),
        Value::Array(items) => Json::Array(items.into_iter().map(to_json).collect::<Option<_>>()?),
        Value::Table(table) => {
            let fields = table.into_iter().map(|(key, value)| Some((key, to_json(value)?)));
            Json::Object(fields.collect::<Option<Map<_, _>>>()?)
        }
    })
}
