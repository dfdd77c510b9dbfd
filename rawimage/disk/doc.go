// Package disk inspects the disk in an image: its partition table, the file
// systems on it, what firmware starts it and which system it holds.
//
//	offset 0            sector 0: boot code, MBR or protective MBR
//	1 sector            GPT header, then its partition entries
//	...                 partitions, unused space
//	size - 1 sector     backup GPT header, its entries before it
//	size                end of the disk
//
// [Inspect] reads any [io.ReaderAt] of RAW bytes: a file, or the disk that a
// reader of an image format presents. It reads some sectors, never all of the
// disk, and writes nothing.
//
// # Security
//
// Disks are hostile input. Offsets and counts found on one are checked against
// its size before anything is allocated or followed; names are stripped of
// control characters.
package disk
