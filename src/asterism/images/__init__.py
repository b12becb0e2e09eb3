"""What comes in: arrays, folders, files, named sets and data sets become an `ImageSource`.

The way of the images, and the modules along it::

    open_images(X)                      open; its options are checked by options
      arrays and tables                 arrays; .npy, .npz: array_files (npz); vectors (text_tables)
      one image after the other         items: lists in memory, data sets of torch and Hugging Face
      data:NAME                         named; which names there are: catalogue (sets.csv, stored.csv)
      files
        1. are listed                   listing (folders), paths (patterns, lists), shards (.tar), remote (urls, fetch)
        2. size, colour, scale settled  folder, by the headers; depth: what is white in more than 8 bits
        3. are decoded in threads       decode: 8 bits of one file, bounded and upright
             by Pillow                  containers (bytes), convert (modes), resample (size)
             as arrays                  raster_readers: tiff, dicom; raster: bands, pages and values that are missing
             or are named               kinds (kinds.csv): what is not read, and what to do
        4. are packed                   pack: one block, in memory or mapped; pack_cache: found again, gone on with
    ImageSource                         source

What cannot be used becomes `Skipped`, one line each; what fails because of the machine is tried again (io_errors).

With a source in hand: ``units`` says what its pixels mean to a model, ``labels`` and ``label_files`` bring classes,
``augment`` changes batches, ``duplicates`` finds copies, ``sprites`` makes thumbnails, ``changes`` finds a run's images
after they have changed, and ``bundled`` reads classes and pictures that come with arrays or shards, without torch, if
``digest`` tells that they are the same. ``locations`` says where data sets and what can be made again are kept.
"""

from typing import TYPE_CHECKING

from asterism import lazy_names

if TYPE_CHECKING:
    from asterism.images.augment import Augmentation, Crops, RandomTransform
    from asterism.images.catalogue import NamedSet, named_sets
    from asterism.images.labels import file_labels, folder_labels
    from asterism.images.open import open_images, reopen
    from asterism.images.source import ImageSource, Skipped

__getattr__, __all__ = lazy_names(
    __name__,
    {
        "augment": ("Augmentation", "Crops", "RandomTransform"),
        "catalogue": ("NamedSet", "named_sets"),
        "labels": ("file_labels", "folder_labels"),
        "open": ("open_images", "reopen"),
        "source": ("ImageSource", "Skipped"),
    },
)
