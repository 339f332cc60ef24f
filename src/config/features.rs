//! What may a chat do? The switches of uploads, history and titles, which are written the same in
//! both modes.

use super::env::Vars;

/// What a user may upload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileUpload {
    /// Whether uploads are allowed at all.
    pub enabled: bool,
    /// The largest file, in megabytes, 1 to 512 (OpenAI's own: 512).
    pub max_file_size_mb: Option<u32>,
    /// Files in one message, 1 or more (OpenAI's own: 10).
    pub max_files: Option<u32>,
}

/// What a user sees of earlier threads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct History {
    /// Whether earlier threads are shown at all.
    pub enabled: bool,
    /// How many of the newest are shown, 1 or more (OpenAI's own: all).
    pub recent_threads: Option<u32>,
}

/// Whether speech is turned into text, and by what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dictation {
    /// `CHATKIT_DICTATION`: on by default.
    pub enabled: bool,
    /// `CHATKIT_TRANSCRIPTION_MODEL`: the model's name, `gpt-4o-transcribe` by default.
    pub model: String,
}

/// `CHATKIT_DICTATION` and `CHATKIT_TRANSCRIPTION_MODEL`.
pub(super) fn dictation(vars: &Vars<'_>) -> Dictation {
    let named = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Dictation {
        enabled: vars.or("CHATKIT_DICTATION", true, "`on` or `off`", parse_switch),
        model: vars.or(
            "CHATKIT_TRANSCRIPTION_MODEL",
            "gpt-4o-transcribe".to_owned(),
            "the name of a model",
            named,
        ),
    }
}

/// `CHATKIT_FILE_UPLOAD`, if it is set.
pub(super) fn file_upload(vars: &Vars<'_>) -> Option<FileUpload> {
    let expected =
        "`off`, `on`, or `on,max_file_size_mb=20,max_files=3` (1 to 512 MB, 1 file or more)";
    vars.optional("CHATKIT_FILE_UPLOAD", expected, parse_file_upload)
}

/// `CHATKIT_HISTORY`, if it is set.
pub(super) fn history(vars: &Vars<'_>) -> Option<History> {
    let expected = "`on`, `off`, or `on,recent_threads=20` (1 thread or more)";
    vars.optional("CHATKIT_HISTORY", expected, parse_history)
}

/// `CHATKIT_THREAD_TITLES`, if it is set.
pub(super) fn thread_titles(vars: &Vars<'_>) -> Option<bool> {
    vars.optional("CHATKIT_THREAD_TITLES", "`on` or `off`", parse_switch)
}

/// A count of something.
pub(super) fn at_least_one(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number >= 1)
}

fn parse_switch(text: &str) -> Option<bool> {
    match text {
        "on" => Some(true),
        "off" => Some(false),
        _ => None,
    }
}

/// Reads `on,name=value,…`: hands each setting to `set`, which says whether it liked it. `off`
/// takes none.
fn parse_settings(text: &str, mut set: impl FnMut(&str, &str) -> bool) -> Option<bool> {
    let mut parts = text.split(',').map(str::trim);
    let enabled = parse_switch(parts.next()?)?;
    for part in parts {
        let (name, value) = part.split_once('=')?;
        if !enabled || !set(name.trim(), value.trim()) {
            return None;
        }
    }
    Some(enabled)
}

/// Fills a setting that may be given once.
fn fill(slot: &mut Option<u32>, value: Option<u32>) -> bool {
    value.is_some() && std::mem::replace(slot, value).is_none()
}

fn parse_file_upload(text: &str) -> Option<FileUpload> {
    let mut upload = FileUpload::default();
    upload.enabled = parse_settings(text, |name, value| match name {
        "max_file_size_mb" => fill(
            &mut upload.max_file_size_mb,
            at_least_one(value).filter(|megabytes| *megabytes <= 512),
        ),
        "max_files" => fill(&mut upload.max_files, at_least_one(value)),
        _ => false,
    })?;
    Some(upload)
}

fn parse_history(text: &str) -> Option<History> {
    let mut history = History::default();
    history.enabled = parse_settings(text, |name, value| match name {
        "recent_threads" => fill(&mut history.recent_threads, at_least_one(value)),
        _ => false,
    })?;
    Some(history)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is made of the variable, and how many problems it has.
    fn read<T>(name: &str, value: &str, read: impl Fn(&Vars<'_>) -> T) -> (T, usize) {
        let lookup = |asked: &str| (asked == name).then(|| value.to_owned());
        let vars = Vars::new(&lookup);
        let made = read(&vars);
        (made, vars.into_problems().len())
    }

    #[test]
    fn uploads_and_history_are_switches_with_settings() {
        let upload = |text| read("CHATKIT_FILE_UPLOAD", text, file_upload).0;
        let on = FileUpload { enabled: true, ..FileUpload::default() };
        assert_eq!(upload("on"), Some(on));
        assert_eq!(upload("off"), Some(FileUpload::default()));
        let limited = FileUpload { max_file_size_mb: Some(20), max_files: Some(3), ..on };
        assert_eq!(upload("on,max_file_size_mb=20,max_files=3"), Some(limited));
        assert_eq!(upload("on, max_files=3, max_file_size_mb=20"), Some(limited));
        for bad in [
            "yes",
            "on,",
            "on,max_files",
            "on,max_files=0",
            "on,max_files=1,max_files=2",
            "on,max_file_size_mb=513",
            "on,max_file_size_mb=0",
            "on,other=1",
            "off,max_files=3",
            "max_files=3",
        ] {
            let (_, problems) = read("CHATKIT_FILE_UPLOAD", bad, file_upload);
            assert_eq!(problems, 1, "{bad}");
        }
        let (some, _) = read("CHATKIT_HISTORY", "on,recent_threads=20", history);
        assert_eq!(some, Some(History { enabled: true, recent_threads: Some(20) }));
        for bad in ["on,recent_threads=0", "off,recent_threads=2", "on,max_files=1"] {
            assert_eq!(read("CHATKIT_HISTORY", bad, history).1, 1, "{bad}");
        }
    }
}
