// Package imagefmt is what the readers of image formats have in common: disks
// that are a table of blocks ([Table]), a cache for tables and decompressed
// pieces ([Cache]), and reads that are whole or an error ([ReadFull]). Errors
// carry the prefix of the format they are for.
//
// Its types stay out of public signatures.
package imagefmt
