// Package vmdk reads VMware's VMDK disk images in place, as the disk they hold:
// monolithic sparse and stream-optimized files, flat and split ones by their
// descriptor, and the sparse extents of old ESX hosts (COWD). Deltas (snapshots,
// linked clones), encrypted disks, SE sparse extents and single parts of a split
// disk are refused by name, and nothing is ever written.
//
//	monolithicSparse                     streamOptimized
//	+------------------------------+ 0   +------------------------------+
//	| header: capacity, grain size,|     | header, without directory    |
//	| where the directory is       |     | descriptor                   |
//	| descriptor, a text           |     +------------------------------+
//	+------------------------------+     | place, length, deflated grain|
//	| directory: one sector number |     | place, length, deflated ...  |
//	| for each table               |     | tables, directory            |
//	| tables: one sector number    |     +------------------------------+
//	| for each of 512 grains       |     | footer: header with directory|
//	+------------------------------+     | end marker                   |
//	| grains of 64 KiB             |     +------------------------------+
//	+------------------------------+
//
// A descriptor in a file of its own lists extents, each a file: sparse as above,
// or FLAT (or VMFS) and so plain bytes. NewReader opens them in the directory of
// WithDir and nowhere else; without it such an image is refused as ErrMissingFile.
//
// # Trust
//
// The file may be hostile. Names in a descriptor cannot lead out of the
// directory. Directories and tables outside the file or on top of each other are
// a *FormatError, and so are grains, which are checked when their table is first
// used, and flat extents that share bytes of a file. A
// compressed grain must be where its marker says, and expand to a grain and not
// more. Memory holds the directories, bounded by WithMaxTable and by the file,
// 2 MiB of tables and 4 MiB of grains.
//
// # Concurrency
//
// All methods but Close may be used by any number of goroutines; compressed
// grains are expanded by the goroutine that reads them, in parallel.
package vmdk
