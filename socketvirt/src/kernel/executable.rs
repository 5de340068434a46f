//! What an executable file tells of the system calls that its program will
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
        /// What the kernel answered.
        #[source]
        source: io::Error,
    },
    /// It is no executable that is known.
    #[error("reading the executable {path} failed: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: object::Error,
    },
}

/// Whether the program, or the library, can call splice(2).
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
        let mut imports = false;
        let linked = file.dynamic_symbols().next().is_some();
        let may_import = linked && names_it(&file)?;
        for symbol in file.dynamic_symbols().take_while(|_| may_import) {
            match symbol.name_bytes() {
                Ok(b"Py_BytesMain") => return Ok(false),
                Ok(b"splice") => imports |= symbol.is_undefined(),
                _ => {}
            }
        }
        if imports || linked && file.section_by_name(GO_BUILD_ID).is_none() {
            return Ok(imports);
        }
        loads_number(&file)
    };
    read().map_err(|source| ExecutableError::Read {
        path: path.to_owned(),
        source,
    })
}

/// Whether the names of the dynamic symbols can have "splice" among them: they
/// are read at once, while each symbol's own name is two system calls.
fn names_it<'a>(file: &object::File<'a, &'a ReadCache<File>>) -> object::Result<bool> {
    let wanted = b"splice\0";
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

/// Whether the code holds the instruction that loads the number of splice(2):
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
    fn refuses_what_is_no_executable() {
        assert!(may_splice(Path::new("/etc/passwd")).is_err());
        assert!(may_splice(Path::new("/nowhere")).is_err());
    }
}
