//! Random node key for `geth init`, never the node's identity.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

/// Order of the secp256k1 group. A private key is above zero and below this number.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe, 0xba,
    0xae, 0xdc, 0xe6, 0xaf, 0x48, 0xa0, 0x3b, 0xbf, 0xd2, 0x5e, 0x8c, 0xd0, 0x36, 0x41, 0x41,
];

/// Writes a random key as 64 hexadecimal characters, readable by its owner only.
pub fn write(path: &Path) -> Result<()> {
    let place = || format!("--throwaway-key {}", path.display());
    let mut random = File::open("/dev/urandom").context("/dev/urandom")?;
    let text = hex(&key(&mut random).context("/dev/urandom")?);
    let mut new = path.as_os_str().to_owned();
    new.push(".new");
    let _ = fs::remove_file(&new);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).with_context(place)?;
    file.write_all(text.as_bytes()).with_context(place)?;
    fs::rename(&new, path).with_context(place)
}

/// Returns the first 32 bytes of the source that form a valid key.
fn key(random: &mut impl Read) -> std::io::Result<[u8; 32]> {
    loop {
        let mut bytes = [0; 32];
        random.read_exact(&mut bytes)?;
        // Comparing arrays byte by byte compares big-endian numbers.
        if bytes != [0; 32] && bytes < ORDER {
            return Ok(bytes);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_is_no_scalar_is_drawn_again() {
        let mut below = ORDER;
        below[31] -= 1;
        let mut one = [0; 32];
        one[31] = 1;
        for good in [below, one] {
            let source = [[0; 32], ORDER, [0xff; 32], good].concat();
            assert_eq!(key(&mut source.as_slice()).unwrap(), good);
        }
    }

    #[test]
    fn the_file_is_64_hex_characters_for_the_owner_alone_and_new_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nodekey");
        fs::write(&path, "old").unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            write(&path).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()));
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o600);
            seen.push(text);
        }
        assert_ne!(seen[0], seen[1]);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_place_that_is_not_there_names_the_flag() {
        let error = write(Path::new("/nowhere/nodekey")).unwrap_err();
        assert!(format!("{error:#}").contains("--throwaway-key /nowhere/nodekey"), "{error:#}");
    }
}
