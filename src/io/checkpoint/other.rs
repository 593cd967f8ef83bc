//! What a file is that is no model, as far as its first bytes tell.

/// How the mark of many kinds of files begins, and what such a file is.
const MARKS: [(&[u8], &str); 7] = [
    (b"\x89HDF", "is an HDF5 file, as Keras writes them; convert it to PyTorch first"),
    (b"GGUF", "is a GGUF file; this network is not kept in one"),
    (b"\x93NUMPY", "is an array of NumPy; save a state dict with torch.save or safetensors"),
    (b"\x1f\x8b", "is packed with gzip; unpack it first"),
    (b"\x89PNG", "is an image; MODEL comes before IMAGE"),
    (b"\xff\xd8\xff", "is an image; MODEL comes before IMAGE"),
    (b"%PDF", "is a PDF document"),
];

/// Where the mark of an archive of `tar` stands, and the mark.
const TAR: (usize, &[u8]) = (257, b"ustar");

/// How far into a file it is looked for words.
const HEAD: usize = 4096;

/// What a file with these bytes is, and what to do; `None` where nothing is known of it.
pub(super) fn what_it_is(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("is empty, so it was damaged or never copied; copy it again".into());
    }
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Some((*what).into());
    }
    if bytes.get(TAR.0..).is_some_and(|rest| rest.starts_with(TAR.1)) {
        return Some("is a tar archive; unpack it first".into());
    }
    // Letters of one byte are enough to know these by.
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    let head = head.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let what = if head.starts_with("version https://git-lfs") {
        "is a pointer of Git LFS, not the file itself; fetch it with: git lfs pull"
    } else if head.starts_with("<!doctype html") || head.starts_with("<html") {
        "is a page of HTML, not the model that it was to be; download it anew, by the link of the \
         file itself"
    } else if head.starts_with('{') && head.contains("\"weight_map\"") {
        "is the index of a model in several files; join them in Python: safetensors.torch.save_file \
         of all their tensors together"
    } else if head.starts_with('{') {
        "is JSON, not the values of a model; name the file beside it that ends with .safetensors, \
         .pth or .pt"
    } else {
        return None;
    };
    Some(what.into())
}
