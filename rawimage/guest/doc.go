// Package guest examines the operating system on a disk image before the image
// is uploaded: whether a server made from it will boot and have a network. Fast
// image creation changes nothing in a guest, so it must be ready beforehand.
//
// [Examine] reads a disk as an [io.ReaderAt] with a size, finds its volumes and
// file systems, and returns a [Report]: facts, and one [Finding] for each check.
// It writes nothing, replays no journal and runs nothing of the guest's.
package guest
