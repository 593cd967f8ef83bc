//! What a file is that is no model, as far as its first bytes tell.

use crate::support::FileKind;

/// What to do with a file of this kind; none where it may be a model all the same.
fn help(kind: FileKind) -> Option<&'static str> {
    Some(match kind {
        FileKind::Hdf5 => ", as Keras writes them; convert it to PyTorch first",
        FileKind::Gguf => "; this network is not kept in one",
        FileKind::NumPy => "; save a state dict with torch.save or safetensors",
        FileKind::Gzip | FileKind::Tar => "; unpack it first",
        FileKind::Png | FileKind::Jpeg => "; MODEL comes before IMAGE",
        FileKind::LfsPointer => "; fetch it with: git lfs pull",
        FileKind::Pdf => "",
        _ => return None,
    })
}

/// How far into a file it is looked for words.
const HEAD: usize = 4096;

/// What a file with these bytes is, and what to do; `None` where nothing is known of it.
pub(super) fn what_it_is(bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return Some("is empty, so it was damaged or never copied; copy it again".into());
    }
    let kind = FileKind::of(bytes);
    if let Some((kind, help)) = kind.and_then(|kind| Some((kind, help(kind)?))) {
        return Some(format!("is {}{help}", kind.name()));
    }
    // Letters of one byte are enough to know these by.
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(HEAD)]).to_ascii_lowercase();
    let head = head.trim_start_matches(['\u{feff}', ' ', '\t', '\r', '\n']);
    let what = if head.starts_with("<!doctype html") || head.starts_with("<html") {
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
