// Package imagefmt is what the readers of image formats have in common: disks
// that are a table of blocks ([Table]), a record of which parts of a file are
// in use ([Ledger]), and reads that are complete or an error ([ReadFull]).
// Errors carry the name of the format they are for.
//
// Its types stay out of public signatures.
package imagefmt
