//! The program itself: found before the container counts as created, its environment completed, executed at the end.
//! Runs inside the container's root, with the container's credentials; everything that it reads there is hostile.

use std::convert::Infallible;
use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags};

use crate::error::{Context as _, Error, Kind, Result};
use crate::plan::process::ProcessPlan;

/// Where programs are looked for when the container's environment has no PATH; engines expect this one.
const DEFAULT_PATH: &[u8] = b"/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// A container's passwd is read this far; nobody needs more, and a hostile one must not fill memory or time.
const PASSWD_LIMIT: usize = 1 << 20;
/// Longer lines of it are passed over, as the C libraries' buffers of old did.
const LINE_LIMIT: usize = 4096;

/// The program of `process`: `args[0]` itself if it holds a slash, else the first executable file of that name in the
/// directories of the container's PATH. Errors: [`Kind::ProgramNotFound`], [`Kind::ProgramNotExecutable`], in the
/// words that engines look for.
pub(crate) fn find(process: &ProcessPlan) -> Result<CString> {
    let Some(name) = process.args.first() else {
        return Err(Error::config(process.pointer.clone() + "/args", "no program"));
    };
    if name.to_bytes().contains(&b'/') {
        return match check(name) {
            Ok(()) => Ok(name.clone()),
            Err(errno) => Err(refused(name, errno)),
        };
    }
    // Of several the last counts, as for shells.
    let path = process.env.iter().rev().find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
    search(name, path.unwrap_or(DEFAULT_PATH))
}

fn search(name: &CStr, path: &[u8]) -> Result<CString> {
    let mut denied = None;
    // An empty name would find the directories themselves; an empty PATH holds no directory.
    let directories = path.split(|byte| *byte == b':').filter(|_| !name.is_empty() && !path.is_empty());
    for directory in directories {
        let mut candidate = if directory.is_empty() { b".".to_vec() } else { directory.to_vec() };
        candidate.push(b'/');
        candidate.extend(name.to_bytes());
        let Ok(candidate) = CString::new(candidate) else { continue };
        match check(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = Some(Errno::EACCES),
            Err(_) => {}
        }
    }
    match denied {
        Some(errno) => Err(refused(name, errno)),
        None => {
            let message = format!("exec: {:?}: executable file not found in $PATH", name.to_string_lossy());
            Err(Error::new(Kind::ProgramNotFound, message))
        }
    }
}

/// Whether `path` is a file that this process may execute.
fn check(path: &CStr) -> Result<(), Errno> {
    let status = rustix::fs::stat(path).map_err(from_rustix)?;
    match FileType::from_raw_mode(status.st_mode) {
        FileType::Directory => Err(Errno::EISDIR),
        FileType::RegularFile => {
            rustix::fs::accessat(CWD, path, Access::EXEC_OK, AtFlags::EACCESS).map_err(from_rustix)
        }
        _ => Err(Errno::EACCES),
    }
}

fn from_rustix(errno: rustix::io::Errno) -> Errno {
    Errno::from_raw(errno.raw_os_error())
}

/// The error for a program that is there but does not run, or is not there. Engines make exit code 127 or 126 of it by
/// its words, so nothing may come between the name and the kernel's text.
fn refused(program: &CStr, errno: Errno) -> Error {
    let kind = match errno {
        Errno::ENOENT => Kind::ProgramNotFound,
        _ => Kind::ProgramNotExecutable,
    };
    let name = program.to_string_lossy();
    if errno == Errno::EISDIR {
        // What execve(2) says of one; older engines know 126 by these words only.
        return Error::new(kind, format!("exec: {name:?}: is a directory")).errno(Errno::EACCES);
    }
    let error = Error::new(kind, format!("exec: {name:?}")).errno(errno);
    match errno {
        Errno::ENOEXEC => {
            error.hint("it is neither a program for this machine nor a script that names its interpreter")
        }
        _ => error,
    }
}

/// execve(2). Returns only if it failed.
pub(crate) fn execute(program: &CStr, args: &[CString], env: &[CString]) -> Result<Infallible> {
    nix::unistd::execve(program, args, env).map_err(|errno| match errno {
        // The file itself was found before: it is the interpreter of a script, or the loader, that is missing.
        Errno::ENOENT => refused(program, errno).hint("the file, its interpreter or its loader is missing"),
        errno => refused(program, errno),
    })
}

/// chdir(2) to `directory`, which is made when missing. In the container's root: every path is the container's.
pub(crate) fn enter_directory(directory: &CStr) -> Result<()> {
    let describe = || format!("chdir to {}", directory.to_string_lossy());
    match rustix::process::chdir(directory) {
        Err(rustix::io::Errno::NOENT) => {
            let path = Path::new(OsStr::from_bytes(directory.to_bytes()));
            std::fs::create_dir_all(path).context(|| format!("make directory {}", path.display()))?;
            rustix::process::chdir(directory).context(describe)
        }
        result => result.context(describe),
    }
}

/// The environment of the program: as configured, and HOME from the container's passwd if it was not.
pub(crate) fn environment(process: &ProcessPlan) -> Vec<CString> {
    let mut env = process.env.clone();
    if !env.iter().any(|entry| entry.to_bytes().starts_with(b"HOME=")) {
        let home = home_directory(c"/etc/passwd", process.uid).unwrap_or_else(|| b"/".to_vec());
        let entry = [b"HOME=", home.as_slice()].concat();
        // A NUL in the file ends the name, so this is never refused; without HOME the program still runs.
        env.extend(CString::new(entry));
    }
    env
}

/// The home directory of `uid` in the passwd file at `path`; `None` if there is no such file or no such user.
fn home_directory(path: &CStr, uid: u32) -> Option<Vec<u8>> {
    // Opening may already have an effect on a device, and a FIFO would block: look first, and look again at what was
    // opened, which may have been exchanged.
    if !is_regular(&rustix::fs::stat(path).ok()?) {
        return None;
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = match rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::NO_MAGICLINKS) {
        // Before Linux 5.6.
        Err(rustix::io::Errno::NOSYS) => rustix::fs::open(path, flags, Mode::empty()).ok()?,
        result => result.ok()?,
    };
    if !is_regular(&rustix::fs::fstat(&file).ok()?) {
        return None;
    }
    let mut search = PasswdSearch::new(uid);
    let mut buffer = [0_u8; 4096];
    let mut total = 0;
    while total < PASSWD_LIMIT {
        let count = rustix::io::read(&file, &mut buffer).ok()?;
        let Some(piece) = buffer.get(..count).filter(|piece| !piece.is_empty()) else { break };
        total += count;
        if let Some(home) = search.feed(piece) {
            return Some(home);
        }
    }
    search.finish()
}

fn is_regular(status: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(status.st_mode) == FileType::RegularFile
}

/// passwd(5), a piece at a time, holding no more than a line.
struct PasswdSearch {
    uid: u32,
    line: Vec<u8>,
    overlong: bool,
}

impl PasswdSearch {
    fn new(uid: u32) -> Self {
        PasswdSearch { uid, line: Vec::new(), overlong: false }
    }

    /// The home directory, once the line of the user is complete.
    fn feed(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let (text, complete) = match part.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (part, false),
            };
            self.overlong |= self.line.len() + text.len() > LINE_LIMIT;
            if !self.overlong {
                self.line.extend(text);
            }
            if complete && let Some(home) = self.finish() {
                return Some(home);
            }
        }
        None
    }

    /// Judges the line gathered so far and begins the next one.
    fn finish(&mut self) -> Option<Vec<u8>> {
        let home = if self.overlong { None } else { home_in_line(&self.line, self.uid) };
        self.line.clear();
        self.overlong = false;
        home
    }
}

/// `name:password:uid:gid:gecos:home:shell`, if it is the line of `uid`. A home that is not an absolute path is `/`.
fn home_in_line(line: &[u8], uid: u32) -> Option<Vec<u8>> {
    let mut fields = line.split(|byte| *byte == b':');
    let digits = fields.nth(2)?;
    // Digits only: the standard parser would take a plus sign.
    if !digits.iter().all(u8::is_ascii_digit) || str::from_utf8(digits).ok()?.parse::<u32>().ok()? != uid {
        return None;
    }
    let home = fields.nth(2)?;
    let is_usable = home.starts_with(b"/") && !home.contains(&0);
    Some(if is_usable { home.to_vec() } else { b"/".to_vec() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::{Path, PathBuf};

    struct Directory(PathBuf);

    impl Directory {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("coracle-payload-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Directory(path)
        }

        fn file(&self, name: &str, mode: u32) -> CString {
            let path = self.0.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            c_path(&path)
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn c_path(path: &Path) -> CString {
        CString::new(path.to_str().unwrap()).unwrap()
    }

    fn process(program: &str, env: &[&str]) -> ProcessPlan {
        ProcessPlan {
            args: vec![CString::new(program).unwrap()],
            env: env.iter().map(|entry| CString::new(*entry).unwrap()).collect(),
            ..ProcessPlan::default()
        }
    }

    #[test]
    fn find_in_path_takes_the_first_executable() {
        let directory = Directory::new("path");
        directory.file("a/tool", 0o644);
        let expected = directory.file("b/tool", 0o755);
        directory.file("c/tool", 0o755);
        let root = directory.0.display();
        let path = format!("PATH={root}/a:{root}/b:{root}/c");
        assert_eq!(find(&process("tool", &[&path])), Ok(expected));
    }

    #[test]
    fn find_missing_in_path_has_the_engines_words() {
        let error = find(&process("nosuchtool", &["PATH=/nonexistent"])).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotFound);
        assert_eq!(error.to_string(), "exec: \"nosuchtool\": executable file not found in $PATH");
        assert_eq!(find(&process("sh", &["PATH="])).unwrap_err().kind(), Kind::ProgramNotFound);
        assert_eq!(find(&process("", &["PATH=/usr"])).unwrap_err().kind(), Kind::ProgramNotFound);
    }

    #[test]
    fn find_not_executable_in_path_is_permission_denied() {
        let directory = Directory::new("denied");
        directory.file("tool", 0o644);
        let error = find(&process("tool", &[&format!("PATH={}", directory.0.display())])).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotExecutable);
        assert_eq!(error.to_string(), "exec: \"tool\": permission denied (EACCES)");
    }

    #[test]
    fn find_path_with_slash_missing_is_no_such_file() {
        let error = find(&process("/no/such", &[])).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotFound);
        assert_eq!(error.to_string(), "exec: \"/no/such\": no such file or directory (ENOENT)");
    }

    #[test]
    fn find_directory_has_the_words_of_old_and_new_engines() {
        let error = find(&process("/tmp", &[])).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotExecutable);
        assert_eq!(error.to_string(), "exec: \"/tmp\": is a directory: permission denied (EACCES)");
    }

    #[test]
    fn find_without_path_uses_the_default() {
        assert!(find(&process("sh", &[])).unwrap().to_bytes().ends_with(b"/sh"));
    }

    #[test]
    fn find_last_path_entry_counts() {
        let error = find(&process("sh", &["PATH=/bin:/usr/bin", "PATH=/nonexistent"])).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotFound);
    }

    #[test]
    fn execute_text_without_interpreter_is_not_executable() {
        let directory = Directory::new("noexec");
        let path = directory.file("text", 0o755);
        let error = execute(&path, std::slice::from_ref(&path), &[]).unwrap_err();
        assert_eq!(error.kind(), Kind::ProgramNotExecutable);
        assert!(error.to_string().contains("exec format error"), "{error}");
    }

    fn home_in(passwd: &[u8], uid: u32) -> Option<Vec<u8>> {
        let mut pieces = PasswdSearch::new(uid);
        let whole = PasswdSearch::new(uid).feed_all(passwd);
        let bytewise = passwd.iter().find_map(|byte| pieces.feed(&[*byte])).or_else(|| pieces.finish());
        assert_eq!(whole, bytewise);
        whole
    }

    impl PasswdSearch {
        fn feed_all(mut self, passwd: &[u8]) -> Option<Vec<u8>> {
            self.feed(passwd).or_else(|| self.finish())
        }
    }

    #[test]
    fn passwd_first_line_of_the_user_counts() {
        let passwd = b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:33::/srv:/bin/sh\nother:x:33:33::/other:\n";
        assert_eq!(home_in(passwd, 33), Some(b"/srv".to_vec()));
        assert_eq!(home_in(passwd, 0), Some(b"/root".to_vec()));
        assert_eq!(home_in(passwd, 3), None);
    }

    #[test]
    fn passwd_last_line_without_newline_counts() {
        assert_eq!(home_in(b"a:x:7:7::/seven", 7), Some(b"/seven".to_vec()));
    }

    #[test]
    fn passwd_hostile_lines_are_passed_over() {
        let long = [vec![b'a'; LINE_LIMIT], b":x:5:5::/long:\n".to_vec(), b"b:x:5:5::/short:\n".to_vec()].concat();
        assert_eq!(home_in(&long, 5), Some(b"/short".to_vec()));
        assert_eq!(home_in(b"a:x:+5:5::/plus:\n", 5), None);
        assert_eq!(home_in(b"a:x:4294967301:5::/overflow:\n", 5), None);
        assert_eq!(home_in(b"a:x:5\n::::\n\n", 5), None);
        assert_eq!(home_in(b"a:x:5:5::relative:\n", 5), Some(b"/".to_vec()));
        assert_eq!(home_in(b"a:x:5:5::/a\0b:\n", 5), Some(b"/".to_vec()));
    }

    #[test]
    fn home_directory_of_a_fifo_does_not_block() {
        let directory = Directory::new("fifo");
        let path = directory.0.join("passwd");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(home_directory(&c_path(&path), 0), None);
        assert_eq!(home_directory(c"/dev/zero", 0), None);
    }

    #[test]
    fn home_directory_of_an_endless_file_is_bounded() {
        let directory = Directory::new("big");
        let path = directory.0.join("passwd");
        let mut passwd = vec![b'\n'; PASSWD_LIMIT];
        passwd.extend(b"a:x:9:9::/beyond:\n");
        fs::write(&path, passwd).unwrap();
        assert_eq!(home_directory(&c_path(&path), 9), None);
    }

    #[test]
    fn environment_with_home_is_unchanged() {
        let process = process("sh", &["HOME=", "A=1", "A=2"]);
        assert_eq!(environment(&process), process.env);
    }

    #[test]
    fn environment_without_home_gets_one() {
        let process = ProcessPlan { uid: 4_294_967_000, ..process("sh", &["HOMER=x"]) };
        assert_eq!(environment(&process), [c"HOMER=x".to_owned(), c"HOME=/".to_owned()]);
    }
}
