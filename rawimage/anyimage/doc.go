// Package anyimage opens any disk image that people have, by its content and
// whatever its name, as the disk of RAW bytes it holds.
//
//	RAW                          as it is, or a block device
//	QCOW2                        version 2 and 3
//	VMDK                         one file, or a descriptor and the files it names
//	VHD, VHDX, VDI               fixed and dynamic
//	OVA, tar                     the disk in it, of any of these formats, in place
//	gzip, xz, zstd, bzip2, lz4   RAW as a Stream, the others by OpenAny
//	zip                          the same, of a single disk
//
// A [Disk] is the same whatever the format: it has extents, holes and Inspect.
// Nothing is written but the temporary file of [OpenAny], and no file is opened
// but the one named, unless it says that its data is in others: those of a VMDK
// descriptor in its own directory, backing and data files of a QCOW2 in the
// directory of [WithReferences] alone.
//
// Everything else that has a magic number is refused with an [UnsupportedError],
// from QED and Parallels to archives, programs and text; its Format has the command
// that converts it, if there is one.
//
// # Detection
//
// The content decides, as rawimage.Detect says. A RAW disk belongs to its guest,
// who may write there what makes it look like an image, for example a QCOW2 with
// the backing file /etc/shadow. What a guest can reach by that is small here: no
// file outside of WithReferences is ever opened. [WithFormat] overrides detection,
// as -f raw of qemu-img does.
//
// # Concurrency
//
// A Disk may be used by any number of goroutines at once. Compressed clusters and
// grains are expanded by the goroutine that reads them. A [Stream] is for one.
//
// # Security
//
// Images are hostile input; see the packages of the formats. The size of a disk is
// bounded by [WithMaxSize]. A Stream ends with an error at the size it was opened
// with, which is at most [MaxStreamSize], and needs at most the memory of
// [WithLongWindow] for its window. Texts from an image are escaped in facts and
// warnings.
package anyimage
