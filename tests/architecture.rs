//! Do the rooms of the house keep to the plan? Imports point one way, files stay small, and each
//! says what it is for.
#![cfg(test)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors of the house, from the top. A room imports from floors below its own, and from
/// nothing beside it.
///
/// - `service` stands between the commands and what they run: it builds `app` and hands it to
///   `server`, which knows no routes.
/// - `sandbox` plays OpenAI. It is another program that happens to live in this binary, so it
///   stands beside the service.
/// - `dev` and `layers` are what `app` puts together, like `sessions` and `page`.
/// - `door` is where limits and auth meet: it finds out the client, then the caller.
/// - `redis_link`, `lifecycle`, `extract` and `openapi` carry whoever needs Redis, a clean end, a
///   checked body or a described answer.
/// - `protocol` is at the bottom: the chat, the agents and the store all speak of its objects.
/// - `telemetry` is below `config`, because the format of the logs is its own and is configured.
const FLOORS: &[&[&str]] = &[
    &["main"],
    &["cli"],
    &["service"],
    &["app", "server", "sandbox"],
    &["sessions", "chatkit", "page", "dev", "layers", "readiness"],
    &["door"],
    &["agent"],
    &["upstream", "store", "limits", "auth"],
    &["extract", "lifecycle", "openapi", "redis_link"],
    &["config"],
    &["telemetry"],
    &["clock", "error", "ids", "protocol", "user"],
];

/// What these may import is less than what lies below them.
const ALONE: &[(&str, &[&str])] = &[("main", &["cli"]), ("sandbox", &["clock"]), ("protocol", &[])];

const LONGEST_FILE: usize = 400;

/// A path in the source: this file, in this room, names that room.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Import {
    file: String,
    from: String,
    to: String,
}

#[test]
fn imports_point_one_way() {
    let imports: BTreeSet<Import> =
        sources("src").iter().flat_map(|(file, text)| imports(file, text)).collect();
    assert!(imports.len() > FLOORS.len(), "too few imports were found: {imports:?}");
    let wrong: Vec<String> = imports.iter().filter_map(complaint).collect();
    assert!(wrong.is_empty(), "arrows against the plan:\n{}", wrong.join("\n"));
}

#[test]
fn every_room_is_on_the_plan() {
    let known = |room: &str| FLOORS.iter().any(|floor| floor.contains(&room));
    let unknown: BTreeSet<String> = sources("src")
        .iter()
        .map(|(file, _)| room(file))
        .filter(|room| room != "lib" && !known(room))
        .collect();
    assert!(unknown.is_empty(), "rooms with no floor: {unknown:?}");
}

#[test]
fn no_file_is_longer_than_a_reader_can_hold() {
    let long: Vec<String> = everything()
        .iter()
        .map(|(file, text)| (file, text.lines().count()))
        .filter(|(_, lines)| *lines > LONGEST_FILE)
        .map(|(file, lines)| format!("{file} has {lines} lines, {LONGEST_FILE} are the cap"))
        .collect();
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn every_file_begins_with_what_it_is_for() {
    let mute: Vec<String> = everything()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(file, _)| file)
        .collect();
    assert!(mute.is_empty(), "these do not begin with `//! `:\n{}", mute.join("\n"));
}

#[test]
fn paths_are_found_in_every_form() {
    let text = "//! crate::page\nuse crate::clock::Clock;\nuse crate::{\n    \
                config::{self, env},\n    error::Error,\n};\n\
                fn f() \
                { super::super::user::f(); super::near::g(); crate::upstream::h() }\npub(crate) \
                struct S;\n\
                #[cfg(test)]\nfn only_in_tests() {}\n#[cfg(test)]\nmod tests \
                { use crate::app::App; }\n";
    let found: Vec<String> =
        imports("src/limits/user.rs", text).into_iter().map(|import| import.to).collect();
    assert_eq!(found, ["clock", "config", "error", "upstream", "user"]);
    let found: Vec<String> =
        imports("src/clock.rs", "use super::page;").into_iter().map(|import| import.to).collect();
    assert_eq!(found, ["page"]);
}

#[test]
fn an_arrow_against_the_plan_is_named() {
    let import = |from: &str, to: &str| Import {
        file: format!("src/{from}.rs"),
        from: from.to_owned(),
        to: to.to_owned(),
    };
    for (from, to, allowed) in [
        ("app", "sessions", true),
        ("sessions", "app", false),
        ("sessions", "chatkit", false),
        ("error", "clock", false),
        ("main", "config", false),
        ("sandbox", "clock", true),
        ("sandbox", "config", false),
        ("protocol", "error", false),
    ] {
        assert_eq!(complaint(&import(from, to)).is_none(), allowed, "{from} → {to}");
    }
    let text = complaint(&import("sessions", "app")).expect("it points upwards");
    assert!(text.starts_with("src/sessions.rs: sessions → app"), "{text}");
}

/// What is wrong with an import, if anything is.
fn complaint(import: &Import) -> Option<String> {
    let Import { file, from, to } = import;
    let why = if let Some((_, only)) = ALONE.iter().find(|(room, _)| *room == from) {
        if only.contains(&to.as_str()) {
            return None;
        }
        format!("{from} may import {only:?} alone")
    } else {
        let floor = |room: &str| FLOORS.iter().position(|floor| floor.contains(&room));
        if floor(from)? < floor(to).unwrap_or(usize::MAX) && to != "lib" {
            return None;
        }
        "only floors below are in reach".to_owned()
    };
    Some(format!("{file}: {from} → {to} ({why})"))
}

/// The rooms that a file names, in its code and not in its tests.
fn imports(file: &str, text: &str) -> BTreeSet<Import> {
    let code = product_code(text);
    let from = room(file);
    let root = if from == "main" { "chatkit_server::" } else { "crate::" };
    let mut rooms: BTreeSet<String> = BTreeSet::new();
    for (at, _) in code.match_indices(root) {
        let is_a_whole_word =
            !code[..at].ends_with(|letter: char| letter.is_alphanumeric() || "_$".contains(letter));
        if is_a_whole_word {
            rooms.extend(first_segments(&code[at + root.len()..]));
        }
    }
    // `super`, as often as it takes to leave the room.
    let climb = "super::".repeat(depth(file));
    for (at, _) in code.match_indices(&climb) {
        let rest = &code[at + climb.len()..];
        if !code[..at].ends_with("super::") && !rest.starts_with("super") {
            rooms.extend(first_segments(rest));
        }
    }
    let own = room(file);
    let found = rooms.into_iter().filter(|to| *to != own);
    found.map(|to| Import { file: file.to_owned(), from: from.clone(), to }).collect()
}

/// The code without comments, up to the unit tests at its end.
fn product_code(text: &str) -> String {
    let lines: Vec<&str> =
        text.lines().map(str::trim).filter(|line| !line.starts_with("//")).collect();
    let tests =
        lines.windows(2).position(|pair| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod "));
    lines[..tests.unwrap_or(lines.len())].join("\n")
}

/// The first names of `a::b`, or of each branch of `{a::b, c::{d, e}}`.
fn first_segments(path: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.trim_start()
            .chars()
            .take_while(|letter| letter.is_alphanumeric() || *letter == '_')
            .collect()
    };
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut open = 1;
    let mut names = vec![name(group)];
    for (at, letter) in group.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            ',' if open == 1 => names.push(name(&group[at + 1..])),
            _ => {}
        }
        if open == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// How many `super` lead from this file's module to the crate: 1 for `src/a.rs` and `src/a/mod.rs`,
/// 2 for `src/a/b.rs`.
fn depth(file: &str) -> usize {
    let folders = file.matches('/').count();
    if file.ends_with("/mod.rs") { folders - 1 } else { folders }
}

/// The first name below `src`: the folder, or the file itself.
fn room(file: &str) -> String {
    let below = file.trim_start_matches("src/");
    below.split(['/', '.']).next().unwrap_or(below).to_owned()
}

fn everything() -> Vec<(String, String)> {
    ["src", "tests", "benches"].into_iter().flat_map(sources).collect()
}

/// Every Rust file below a folder of the project, by its path and with its text.
fn sources(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        let entries =
            fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let paths: Vec<PathBuf> =
            entries.map(|entry| entry.expect("the folder can be read").path()).collect();
        for path in paths {
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path)
                    .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
                let name =
                    path.strip_prefix(root).expect("it lies below the root").to_string_lossy();
                files.push((name.into_owned(), text));
            }
        }
    }
    files
}
