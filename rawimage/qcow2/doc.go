// Package qcow2 reads the disk in a QCOW2 image, version 2 and 3, in place:
// as an [io.ReaderAt] of RAW bytes that knows where its data is. It reads the
// active disk only, not internal snapshots. [Encode] and [EncodeStream] write
// version 3 images without any of the features that need other files.
//
//	header      72 bytes, or 104 and more in version 3
//	extensions  feature names, backing format, name of the data file
//	...         name of the backing file, still in the first cluster
//
//	clusters of 512 bytes to 2 MiB, in any order:
//	  L1 table        8 bytes for each L2 table: its place
//	  L2 table        one cluster, 8 bytes for each cluster of the disk, or
//	                  16 with a bitmap of 32 subclusters (extended)
//	  cluster         data as it is
//	  compressed      data of several clusters, packed (deflate or zstd)
//	  refcount table  which clusters of the file are used; not needed here
//	  snapshot table  listed by Info, otherwise not used
//
// A cluster of the disk is unallocated (in the backing file, or zeros), zero,
// stored, or compressed. Clusters of zeros need no space and are no data to
// [Reader.NextData].
//
// # What is read
//
// All cluster sizes, zlib and zstd compression, zero clusters, extended L2
// entries, lazy reference counts, and images marked dirty or corrupt, which
// [Reader.Info] tells. Encrypted images and those with unknown incompatible
// features are refused by name ([ErrUnsupported]). The disk of an image is
// what qemu-img convert -O raw makes of it; that includes its size, which is
// the header's without a last sector that is not whole.
//
// Images that need other files, a backing file or an external data file, are
// refused with a [ReferenceError] unless [WithDir] or [WithFS] says where such
// files may be opened. RAW and QCOW2 backing files are followed. When an image
// does not name the format of its backing file, its content decides, as in
// QEMU.
//
// # Concurrency
//
// A [Reader] may be used by any number of goroutines at once. Clusters are
// decompressed by the goroutine that reads them, without a lock, so a
// compressed image is read as fast as there are processors to read it. Reads of
// whole clusters are the fastest: they take no detour through a cache.
//
// # Security
//
// Images are hostile input. Tables must lie inside the file, no L2 table is
// used twice, and a compressed cluster expands to one cluster or fails. Memory
// is bounded by the caches, the compressed clusters being read, and the L1
// table, which is at most 32 MiB and has to be in the file. Wrong values are a
// [FormatError] that names the place and the field. No file is opened but
// inside the directory allowed.
package qcow2
