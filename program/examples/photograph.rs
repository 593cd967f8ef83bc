//! The course's notebook after that: a saved model says which letter a photograph shows; the book
//! tells its story (`docs/photograph.md`).
//!
//! ```text
//! cargo run --release --example augmentation                            # writes model.safetensors
//! cargo run --release --example photograph -- model.safetensors hand.png
//! ```

use signet::{Device, Error, Result};
use signet_cli::photo::{Crop, decode};
use signet_cli::predict::{Predictor, TrainedModel, top};
use std::path::Path;
use std::process::ExitCode;

// ANCHOR: predict
fn predict(model: &Path, photograph: &Path) -> Result<()> {
    // model = torch.load("model.pth", map_location=device)
    let model = TrainedModel::open(model)?;
    let predictor = Predictor::new(&Device::cpu()?, &model)?;

    // image = tv_io.read_image(file_path, tv_io.ImageReadMode.GRAY)
    let bytes = std::fs::read(photograph).map_err(Error::io("read", photograph))?;
    let photo = match decode(&bytes) {
        Ok(photo) => photo,
        Err(error) => return Err(Error::argument("photograph", error.to_string())),
    };
    // preprocess_trans = transforms.Compose([ToDtype(...), Resize((28, 28)), Grayscale()])
    let image = Crop::Auto.image(&photo);

    // prediction = model(processed_image.unsqueeze(0)).argmax(dim=1)
    let probabilities = predictor.probabilities(&[image])?;
    for (class, probability) in top(&probabilities[0], 5) {
        println!("{} {probability:.4}", model.classes[class]);
    }
    Ok(())
}
// ANCHOR_END: predict

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let [model, photograph] = &arguments[..] else {
        eprintln!("usage: photograph MODEL IMAGE");
        return ExitCode::from(2);
    };
    match predict(Path::new(model), Path::new(photograph)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}
