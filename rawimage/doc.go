// Package rawimage reads RAW disk images: files, block devices and anything
// else that is an [io.ReaderAt] with a size. A RAW image is the disk itself,
// byte for byte, without a header of its own:
//
//	offset 0            sector 0: boot code, MBR or protective MBR
//	1 sector            GPT header, then its partition entries
//	...                 partitions, unused space, holes
//	size - 1 sector     backup GPT header, its entries before it
//	size                end of the image
//
// The package knows the exact size of an image, finds the parts of it that
// hold data (by SEEK_DATA and SEEK_HOLE where the system has them), detects the
// formats of other files (Detect), and writes images as sparse files (Create). It
// does not convert formats: a file of another one is refused with a
// [ForeignFormatError] that names it. Package rawimage/disk says what is on a
// disk, rawimage/anyimage opens images of other formats.
//
// # Holes
//
// A hole is a promise: it reads as zeros. The reverse is not true, an extent of
// data may be zeros too. So holes only ever save work; a file system that
// reports none costs time and nothing else.
//
// # Concurrency
//
// An [Image] may be used by any number of goroutines at once.
//
// # Security
//
// Images are hostile input. Sizes, offsets and counts found in one are checked
// against its size before anything is allocated or followed.
package rawimage
