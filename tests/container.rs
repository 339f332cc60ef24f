//! Does the image's recipe hold together? What can be known of the Dockerfile without an engine to
//! build it.
#![cfg(test)]

use std::path::{Component, Path, PathBuf};

/// One instruction, with its continuation lines joined.
#[derive(Debug)]
struct Instruction {
    word: String,
    rest: String,
}

#[test]
fn every_path_the_image_copies_exists_and_reaches_the_build() {
    let ignore = read(".dockerignore");
    let sources = copied_from_context();
    assert!(!sources.is_empty(), "the Dockerfile copies nothing from the project");
    for source in sources {
        assert!(root().join(&source).exists(), "COPY {source}: there is no such file");
        assert!(
            !is_ignored(&ignore, &source),
            "COPY {source}: .dockerignore keeps it out of the build"
        );
    }
}

#[test]
fn secrets_and_build_output_stay_out_of_the_build() {
    let ignore = read(".dockerignore");
    for path in [".env", ".git", "target", "data", "tests/browser/node_modules"] {
        assert!(is_ignored(&ignore, path), ".dockerignore lets {path} into the build");
    }
}

#[test]
fn every_file_compiled_into_the_binary_is_copied() {
    let copied = copied_from_context();
    let mut seen = 0;
    for file in rust_files(&root().join("src")) {
        let text = std::fs::read_to_string(&file).unwrap();
        let product = text.split("#[cfg(test)]").next().unwrap_or_default();
        for call in ["include_str!(\"", "include_bytes!(\""] {
            for rest in product.split(call).skip(1) {
                let target = rest.split('"').next().unwrap();
                let path = normal(&file.parent().unwrap().join(target));
                let path = path.strip_prefix(root()).unwrap();
                seen += 1;
                assert!(
                    copied.iter().any(|source| path.starts_with(source)),
                    "{} includes {}, which the Dockerfile does not copy",
                    file.display(),
                    path.display()
                );
            }
        }
    }
    assert!(seen > 0, "the sample page is compiled in, so something must have been found");
}

#[test]
fn the_image_runs_as_a_numbered_user_that_is_not_root() {
    let user = last("USER");
    let id = user.split(':').next().unwrap();
    let id: u32 = id
        .parse()
        .unwrap_or_else(|_| panic!("USER {user}: Kubernetes' runAsNonRoot wants a number"));
    assert_ne!(id, 0, "the image runs as root");
}

#[test]
fn nothing_in_the_image_needs_a_shell() {
    for word in ["ENTRYPOINT", "HEALTHCHECK"] {
        let rest = last(word);
        let command = &rest
            [rest.find('[').unwrap_or_else(|| panic!("{word} {rest}: not in the exec form"))..];
        let command: Vec<String> = serde_json::from_str(command)
            .unwrap_or_else(|_| panic!("{word} {rest}: no JSON array"));
        assert_eq!(command[0], "/chatkit-server", "{word} starts something else");
    }
    assert!(last("HEALTHCHECK").contains(r#"CMD ["/chatkit-server", "healthcheck"]"#));
    let runtime = instructions().into_iter().rev().take_while(|step| step.word != "FROM");
    assert!(
        runtime.into_iter().all(|step| step.word != "RUN"),
        "the last stage has no shell to RUN anything"
    );
}

#[test]
fn the_image_is_built_with_the_compiler_and_labelled_with_the_version_of_the_manifest() {
    let base = instructions().into_iter().find(|step| step.word == "FROM").unwrap().rest;
    let wanted = format!("rust:{}.", env!("CARGO_PKG_RUST_VERSION"));
    assert!(
        base.starts_with(&wanted),
        "FROM {base}: Cargo.toml says rust-version {}",
        env!("CARGO_PKG_RUST_VERSION")
    );
    let labels = last("LABEL");
    for (label, value) in [
        ("title", env!("CARGO_PKG_NAME")),
        ("description", env!("CARGO_PKG_DESCRIPTION")),
        ("version", env!("CARGO_PKG_VERSION")),
        ("licenses", env!("CARGO_PKG_LICENSE")),
    ] {
        let wanted = format!("org.opencontainers.image.{label}=\"{value}\"");
        assert!(labels.contains(&wanted), "LABEL {labels}\nlacks {wanted}");
    }
}

#[test]
fn later_lines_of_dockerignore_win_and_cover_what_is_below_them() {
    let ignore = "# a comment\n*\n!src\nsrc/*.tmp\n**/secret\n";
    for (path, ignored) in [
        ("README.md", true),
        ("src", false),
        ("src/main.rs", false),
        ("src/x.tmp", true),
        ("src/a/x.tmp", false),
        ("src/a/secret", true),
        ("srcs", true),
    ] {
        assert_eq!(is_ignored(ignore, path), ignored, "{path}");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn instructions() -> Vec<Instruction> {
    let text: String = read("Dockerfile")
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .fold(String::new(), |text, line| match line.strip_suffix('\\') {
            Some(open) => text + open,
            None => text + line + "\n",
        });
    let steps = text.lines().filter_map(|line| line.trim().split_once(char::is_whitespace));
    steps
        .map(|(word, rest)| Instruction { word: word.to_uppercase(), rest: rest.trim().to_owned() })
        .collect()
}

/// What follows the last instruction of this name: the one that counts in the finished image.
fn last(word: &str) -> String {
    let found = instructions().into_iter().rev().find(|step| step.word == word);
    found.unwrap_or_else(|| panic!("the Dockerfile has no {word}")).rest
}

/// The sources of every COPY and ADD that reads from the project rather than from another stage.
fn copied_from_context() -> Vec<String> {
    let copies =
        instructions().into_iter().filter(|step| ["COPY", "ADD"].contains(&step.word.as_str()));
    let from_context = copies.filter(|step| !step.rest.contains("--from="));
    from_context
        .flat_map(|step| {
            let words: Vec<&str> =
                step.rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
            let sources = &words[..words.len() - 1];
            sources
                .iter()
                .map(|source| source.trim_start_matches("./").to_owned())
                .collect::<Vec<_>>()
        })
        .collect()
}

/// Docker's rule: the last pattern that matches the path, or a folder above it, decides.
fn is_ignored(patterns: &str, path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let lines =
        patterns.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.fold(false, |ignored, line| {
        let (verdict, pattern) = line.strip_prefix('!').map_or((true, line), |kept| (false, kept));
        let pattern: Vec<&str> = pattern.trim_matches('/').split('/').collect();
        let matches = (1..=parts.len()).any(|length| path_matches(&pattern, &parts[..length]));
        if matches { verdict } else { ignored }
    })
}

fn path_matches(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (Some((&"**", rest)), _) => {
            (0..=path.len()).any(|skipped| path_matches(rest, &path[skipped..]))
        }
        (Some((first, pattern)), Some((name, path))) => {
            part_matches(first, name) && path_matches(pattern, path)
        }
        _ => false,
    }
}

fn part_matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name.strip_prefix(before).is_some_and(|rest| {
            rest.char_indices()
                .map(|(at, _)| at)
                .chain([rest.len()])
                .any(|at| part_matches(after, &rest[at..]))
        }),
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { rust_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .collect()
}

/// The path without its `..`, as the compiler would resolve it.
fn normal(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut done, part| {
        match part {
            Component::ParentDir => drop(done.pop()),
            other => done.push(other),
        }
        done
    })
}
