// Package anyimage opens any disk image that people have, by its content and
// whatever its name, as the disk of RAW bytes it holds.
//
//	RAW                          as it is, or a block device
//	QCOW2                        version 2 and 3
//	VMDK                         one file, or a descriptor and the files it names
//	OVA                          the VMDK in it, without unpacking
//	VHD, VHDX, VDI               fixed and dynamic
//	RAW in gzip, xz or zstd      forward only, see OpenStream
//
// A [Disk] is a [rawimage.Image] over the format's reader, so extents, holes and
// Inspect are the same for all of them. Nothing is written, and no file is opened
// but the one named, unless it says that its data is in others: those of a VMDK
// descriptor in its own directory, backing and data files of a QCOW2 in the
// directory of [WithReferences] alone.
//
// QED, QCOW version 1, bzip2 and containers of a cloud (ZVHD, ZVHD2) are refused
// with an [UnsupportedError] that has the command which converts them.
//
// # Detection
//
// The first and last bytes decide, as rawimage.DetectFormat has it. A RAW disk
// belongs to its guest, who may write there what makes it look like an image, of
// QCOW2 with the backing file /etc/shadow for example. What a guest can reach by
// that is small here: no file outside of WithReferences is ever opened. Whoever
// knows that the disk is RAW says so nevertheless, with [WithFormat], as with -f
// raw of qemu-img.
//
// # Concurrency
//
// A Disk may be used by any number of goroutines at once. Compressed clusters and
// grains are expanded by the goroutine that reads them. A [Stream] is for one.
//
// # Security
//
// Images are hostile input; see the packages of the formats. A Stream ends with an
// error at the size it was opened with, which is at most [MaxStreamSize], and
// needs at most 64 MiB (xz) or 128 MiB (zstd) for its window.
package anyimage
