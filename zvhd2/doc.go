// Package zvhd2 writes and reads ZVHD2, the compressed disk container that
// Huawei Cloud imports images from, and reads ZVHD, its predecessor.
//
// # Layout
//
// A container is a forward stream of 4096-byte pages:
//
//	0          header         4 KiB            footer structure, index fields zero
//	           record 0       n * 4 KiB        48 B header | payload | padding | "end\0"
//	           record 1       n * 4 KiB        ascending block number
//	           ...                             (blocks of zeros are absent)
//	           end of data    4 KiB            footer structure
//	index_lba  index          n * 512 KiB      16 B entries: offset, block, length
//	bitmap_lba bitmap         n * 4 KiB        one bit per block of the disk
//	EOF-4 KiB  index footer   4 KiB            footer structure, all fields
//
// Each record holds one block of the disk (2 MiB as written, 1 to 32 MiB as
// read), compressed on its own: zstd as written, zstd or zlib as read. ZVHD has
// header, records and footer only, and its payloads are one zlib stream.
//
// # What it does
//
// [Encode] turns a disk into a container, in parallel and forward only;
// [EncodeStream] does the same for a disk that can only be read in sequence.
// [NewReader] gives random access to the disk in a container, and
// [NewStreamReader] reads ZVHD and ZVHD2 in sequence; the methods Decode and
// DecodeStream of both write the whole disk, at offsets or in sequence. [Verify]
// lists everything that is wrong with a container, [Optimize] rewrites any
// readable one in canonical form, and [Recover] saves what is intact of a damaged
// or truncated one. The package neither creates differencing disks nor changes
// containers in place.
//
// # Concurrency
//
// Functions use as many workers as GOMAXPROCS unless [WithWorkers] says otherwise.
// A [Reader] is safe for concurrent use; a [StreamReader] is not. The output of
// Encode does not depend on the number of workers. Every function that takes a
// context returns as soon as that ends, even while a source's read is blocked:
// such a read is abandoned, its result dropped, and nothing is written after the
// function has returned.
//
// # Security
//
// Everything in a file is considered hostile: it yields a [FormatError], never a
// panic, never more than a block out of a payload, and no allocation beyond
// what the file's length justifies. [WithMaxDiskSize] bounds what decoding writes.
package zvhd2
