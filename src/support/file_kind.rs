//! What a file is, as its first bytes tell, whatever its name says.

use FileKind as Kind;

/// A kind of file. Each reader knows which of them it reads, and what to do with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it, and `name` in words")]
pub enum FileKind {
    AppleDouble,
    Arrow,
    Avi,
    Base64Jpeg,
    Base64Png,
    Bzip2,
    DataUrl,
    Dds,
    DsStore,
    Gguf,
    Gimp,
    Gzip,
    Hdf5,
    Icon,
    Idx,
    Jpeg,
    Jpeg2000,
    JpegXl,
    LfsPointer,
    Matroska,
    NumPy,
    OldExcel,
    OpenExr,
    Parquet,
    Pdf,
    Photoshop,
    Pickle,
    Png,
    Qoi,
    Rar,
    RawCr2,
    RawFuji,
    SevenZip,
    Tar,
    Utf16Page,
    Xz,
    Zip,
    Zstandard,
}

/// Bytes at a place, and the kind of a file that has them there.
const MARKS: [(usize, &[u8], Kind); 42] = [
    (0, b"PK\x03\x04", Kind::Zip),
    // An empty one.
    (0, b"PK\x05\x06", Kind::Zip),
    (0, b"\x1f\x8b", Kind::Gzip),
    (0, b"BZh", Kind::Bzip2),
    (0, b"\xfd7zXZ\0", Kind::Xz),
    (0, b"\x28\xb5\x2f\xfd", Kind::Zstandard),
    (0, b"7z\xbc\xaf\x27\x1c", Kind::SevenZip),
    (0, b"Rar!\x1a\x07", Kind::Rar),
    (257, b"ustar", Kind::Tar),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind::OldExcel),
    (0, b"PAR1", Kind::Parquet),
    (0, b"ARROW1", Kind::Arrow),
    (0, b"\x89HDF\r\n", Kind::Hdf5),
    (0, b"GGUF", Kind::Gguf),
    (0, b"\x93NUMPY", Kind::NumPy),
    (0, b"\0\0\x08", Kind::Idx),
    (0, b"\x80\x04\x95", Kind::Pickle),
    (0, b"\x80\x05\x95", Kind::Pickle),
    (0, b"%PDF", Kind::Pdf),
    (0, b"\x89PNG", Kind::Png),
    (0, b"\xff\xd8\xff", Kind::Jpeg),
    (0, b"\0\0\0\x0cJXL ", Kind::JpegXl),
    (0, b"\xff\x0a", Kind::JpegXl),
    (0, b"\0\0\0\x0cjP  ", Kind::Jpeg2000),
    (0, b"\xff\x4f\xff\x51", Kind::Jpeg2000),
    (0, b"\0\0\x01\0", Kind::Icon),
    (0, b"8BPS", Kind::Photoshop),
    (0, b"gimp xcf", Kind::Gimp),
    (0, b"qoif", Kind::Qoi),
    (0, b"\x76\x2f\x31\x01", Kind::OpenExr),
    (0, b"DDS ", Kind::Dds),
    (0, b"FUJIFILMCCD-RAW", Kind::RawFuji),
    (8, b"CR\x02\0", Kind::RawCr2),
    (8, b"AVI ", Kind::Avi),
    (0, b"\x1a\x45\xdf\xa3", Kind::Matroska),
    (0, b"\0\x05\x16\x07", Kind::AppleDouble),
    (4, b"Bud1", Kind::DsStore),
    (0, b"version https://git-lfs", Kind::LfsPointer),
    (0, b"/9j/", Kind::Base64Jpeg),
    (0, b"iVBORw0K", Kind::Base64Png),
    (0, b"data:image/", Kind::DataUrl),
    (0, b"\xff\xfe<\0", Kind::Utf16Page),
];

impl FileKind {
    /// The kind of a file that begins with `head`, of which 262 bytes are enough; `None` where it has none
    /// of the marks, as text and kinds that nobody asks for.
    pub fn of(head: &[u8]) -> Option<Self> {
        let has =
            |at: usize, mark: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(mark));
        MARKS.iter().find(|(at, mark, _)| has(*at, mark)).map(|&(.., kind)| kind)
    }

    /// What people call it, with its article.
    pub fn name(self) -> &'static str {
        match self {
            Self::AppleDouble => "what macOS keeps beside a file (AppleDouble)",
            Self::Arrow => "an Arrow (Feather) file",
            Self::Avi => "an AVI video",
            Self::Base64Jpeg => "a JPEG image as base64 text",
            Self::Base64Png => "a PNG image as base64 text",
            Self::Bzip2 => "a bzip2 file",
            Self::DataUrl => "a data URL",
            Self::Dds => "a DDS texture",
            Self::DsStore => "a folder's settings (.DS_Store)",
            Self::Gguf => "a GGUF file",
            Self::Gimp => "a document of GIMP",
            Self::Gzip => "a gzip file",
            Self::Hdf5 => "an HDF5 file",
            Self::Icon => "an icon (ICO)",
            Self::Idx => "an IDX file as of the digits of MNIST",
            Self::Jpeg => "a JPEG image",
            Self::Jpeg2000 => "a JPEG 2000 image",
            Self::JpegXl => "a JPEG XL image",
            Self::LfsPointer => "a pointer of Git LFS, not the file itself",
            Self::Matroska => "a Matroska or WebM video",
            Self::NumPy => "a NumPy array",
            Self::OldExcel => "an old Excel workbook",
            Self::OpenExr => "an OpenEXR image",
            Self::Parquet => "a Parquet file",
            Self::Pdf => "a PDF document",
            Self::Photoshop => "a Photoshop document",
            Self::Pickle => "a Python pickle",
            Self::Png => "a PNG image",
            Self::Qoi => "a QOI image",
            Self::Rar => "a RAR archive",
            Self::RawCr2 => "a raw photograph (CR2)",
            Self::RawFuji => "a raw photograph",
            Self::SevenZip => "a 7z archive",
            Self::Tar => "a tar archive",
            Self::Utf16Page => "a web page",
            Self::Xz => "an xz file",
            Self::Zip => "a zip archive",
            Self::Zstandard => "a Zstandard file",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mark that begins as one before it would never be found.
    #[test]
    fn every_mark_is_found() {
        for (at, mark, kind) in MARKS {
            let mut head = vec![0x55; 300];
            head[at..at + mark.len()].copy_from_slice(mark);
            assert_eq!(FileKind::of(&head), Some(kind), "{mark:?}");
            assert_eq!(FileKind::of(&head[..at + mark.len() - 1]), None, "{mark:?}, cut");
        }
        assert_eq!(FileKind::of(b"label,pixel1,pixel2"), None);
        assert_eq!(FileKind::of(b""), None);
    }
}
