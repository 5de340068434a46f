//! Reads from an executable file which system calls its program will
//! make.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
};

use object::{
    Architecture, BinaryFormat, Object as _, ObjectSection as _, ObjectSymbol as _, ReadCache,
    SectionKind,
};

/// An executable file could not be judged.
#[derive(Debug, thiserror::Error)]
pub enum ExecutableError {
    /// It could not be opened.
    #[error("opening the executable {path} failed: {source}")]
    Open {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// It is no executable that is known.
    #[error("reading the executable {path} failed: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The fault in it.
        #[source]
        source: object::Error,
    },
}

/// True when the program, or the library, can call splice(2).
///
/// One that is linked to a C library imports the function. A static one, and
/// a Go program, which calls the kernel itself, load the number of the call
/// into the register for it; those bytes can be there for another reason, so
/// the answer errs towards yes. `CPython` imports every call for the scripts
/// that it runs, which seldom use this one, and counts as one that does not.
///
/// # Errors
/// When the file cannot be read.
pub fn may_splice(path: &Path) -> Result<bool, ExecutableError> {
    judge(path, |file| {
        let linked = is_linked(file);
        if linked && names(file, b"splice\0")? {
            let mut imports = false;
            for symbol in file.dynamic_symbols() {
                match symbol.name_bytes() {
                    Ok(b"Py_BytesMain") => return Ok(false),
                    Ok(b"splice") => imports |= symbol.is_undefined(),
                    _ => {}
                }
            }
            if imports {
                return Ok(true);
            }
        }
        if linked && file.section_by_name(GO_BUILD_ID).is_none() {
            return Ok(false);
        }
        loads_number(file)
    })
}

/// True when the program, or the library, can come by a TCP socket: make one, or
/// take one from a listener or another program. Those that are not linked to a
/// C library are taken to.
///
/// # Errors
/// When the file cannot be read.
pub fn may_have_sockets(path: &Path) -> Result<bool, ExecutableError> {
    judge(path, |file| {
        if !is_linked(file) || file.section_by_name(GO_BUILD_ID).is_some() {
            return Ok(true);
        }
        let takes = |name: &[u8]| SOCKET_CALLS.contains(&name);
        Ok(file
            .dynamic_symbols()
            .any(|symbol| symbol.is_undefined() && symbol.name_bytes().is_ok_and(takes)))
    })
}

/// The functions of a C library that give a program a socket; `syscall` can be
/// any call.
const SOCKET_CALLS: [&[u8]; 7] = [
    b"socket",
    b"accept",
    b"accept4",
    b"recvmsg",
    b"recvmmsg",
    b"pidfd_getfd",
    b"syscall",
];

/// Opens an executable and judges it; what is none for this kind of system
/// counts as no.
fn judge(
    path: &Path,
    rule: impl for<'a> FnOnce(&object::File<'a, &'a ReadCache<File>>) -> object::Result<bool>,
) -> Result<bool, ExecutableError> {
    let file = File::open(path).map_err(|source| ExecutableError::Open {
        path: path.to_owned(),
        source,
    })?;
    let read = || -> object::Result<bool> {
        // Only what is asked for is read.
        let cache = ReadCache::new(file);
        let file = object::File::parse(&cache)?;
        if file.format() != BinaryFormat::Elf {
            return Ok(false);
        }
        rule(&file)
    };
    read().map_err(|source| ExecutableError::Read {
        path: path.to_owned(),
        source,
    })
}

fn is_linked<'a>(file: &object::File<'a, &'a ReadCache<File>>) -> bool {
    file.dynamic_symbols().next().is_some()
}

/// True when the names of the dynamic symbols can have this one, with its 0,
/// among them: they are read at once, while each symbol's own name is two
/// system calls.
fn names<'a>(file: &object::File<'a, &'a ReadCache<File>>, wanted: &[u8]) -> object::Result<bool> {
    let Some(names) = file.section_by_name(".dynstr") else {
        return Ok(true);
    };
    // It can be the end of another name.
    Ok(names
        .data()?
        .windows(wanted.len())
        .any(|bytes| bytes == wanted))
}

/// The section that Go's linker gives to all its programs.
const GO_BUILD_ID: &str = ".note.go.buildid";

/// True when the code holds the instruction that loads the number of splice(2):
/// `mov $275, %eax` on x86-64 (`arch/x86/entry/syscalls/syscall_64.tbl`), `mov
/// x8, #76` on arm64 (include/uapi/asm-generic/unistd.h).
fn loads_number<'a>(file: &object::File<'a, &'a ReadCache<File>>) -> object::Result<bool> {
    let instruction: &[u8] = match file.architecture() {
        Architecture::X86_64 => &[0xb8, 0x13, 0x01, 0x00, 0x00],
        Architecture::Aarch64 => &[0x88, 0x09, 0x80, 0xd2],
        // Not known: it may.
        _ => return Ok(true),
    };
    for section in file.sections() {
        if section.kind() == SectionKind::Text
            && section
                .data()?
                .windows(instruction.len())
                .any(|bytes| bytes == instruction)
        {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use std::{env, fs, process::Command};

    use super::*;

    #[test]
    fn tells_who_imports_it() {
        assert!(!may_splice(Path::new("/bin/sh")).unwrap());
        // It defines the function, which is not calling it.
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let library = maps.lines().find(|line| line.contains("/libc.so")).unwrap();
        let path = library.split_ascii_whitespace().last().unwrap();
        assert!(!may_splice(Path::new(path)).unwrap());
    }

    #[test]
    fn tells_who_calls_it() {
        let folder = env::temp_dir().join(format!("socketvirt-executable-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let build = |name: &str, body: &str, flags: &[&str]| {
            let (source, program) = (folder.join(format!("{name}.c")), folder.join(name));
            fs::write(
                &source,
                format!("#define _GNU_SOURCE\n#include <fcntl.h>\n{body}"),
            )
            .unwrap();
            let status = Command::new("cc")
                .args(flags)
                .arg(&source)
                .arg("-o")
                .arg(&program)
                .status()
                .unwrap();
            assert!(status.success(), "{name}");
            may_splice(&program).unwrap()
        };
        let calls = "int main(int n, char **a) { return splice(n, 0, n, 0, 1, 0); }";
        let nothing = "int main(void) { return 0; }";
        assert!(build("calls", calls, &[]));
        assert!(build("calls-static", calls, &["-static"]));
        assert!(!build("nothing", nothing, &[]));
        // CPython's, whose scripts seldom call it.
        let python = format!("int Py_BytesMain(void) {{ return 0; }}\n{calls}");
        assert!(!build("python", &python, &["-rdynamic"]));
        // Go's linker gives its programs a section, and they import nothing.
        let number = if cfg!(target_arch = "x86_64") {
            "mov $275, %eax"
        } else {
            "mov x8, #76"
        };
        let loads = format!("int main(void) {{ __asm__ volatile (\"{number}\"); return 0; }}");
        let go = "const char id[] __attribute__((section(\".note.go.buildid\"))) = \"id\";";
        assert!(!build("loads", &loads, &[]));
        assert!(build("go", &format!("{go}\n{loads}"), &[]));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn tells_who_can_have_sockets() {
        // Its own, for /dev/tcp.
        assert!(may_have_sockets(Path::new("/bin/bash")).unwrap());
        // Splices from one pipe to another.
        assert!(may_splice(Path::new("/bin/grep")).unwrap());
        assert!(!may_have_sockets(Path::new("/bin/grep")).unwrap());
    }

    #[test]
    fn refuses_what_is_no_executable() {
        assert!(may_splice(Path::new("/etc/passwd")).is_err());
        assert!(may_splice(Path::new("/nowhere")).is_err());
    }
}
