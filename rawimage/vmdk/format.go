package vmdk

import (
	"bytes"
	"encoding/binary"

	"github.com/fastimage/fastimage/internal/imageerr"
	"github.com/fastimage/fastimage/internal/imagefmt"
)

const (
	sectorSize = 512
	headerSize = 512

	sparseMagic = "KDMV"
	cowdMagic   = "COWD"

	flagZeroedGrain = 1 << 2  // table entry 1 is a grain of zeros
	flagCompressed  = 1 << 16 // grains are deflated
	flagMarkers     = 1 << 17 // grains have their place on the disk in front

	atEnd = 0xFFFFFFFFFFFFFFFF // directory offset: the footer knows

	markerFooter = 3
	deflate      = 1 // the compression algorithm, RFC 1950

	// maxGrain bounds a compressed grain, which has to be held in memory. All
	// writers use 64 KiB.
	maxGrain = 2 << 20
	// maxEntries bounds a grain table. All writers use 512 entries, and qemu
	// takes no more.
	maxEntries = 8192
)

// header of a sparse extent, little endian. All places are sectors.
type header struct {
	version      uint32
	flags        uint32
	capacity     uint64
	grain        uint64
	descriptorAt uint64
	descriptorN  uint64
	entries      uint32 // in a grain table
	directoryAt  uint64
	unclean      bool
	compression  uint16
	esx          bool // COWD: of an ESX host
}

func parseHeader(b []byte) header {
	le := binary.LittleEndian
	return header{
		version:      le.Uint32(b[4:]),
		flags:        le.Uint32(b[8:]),
		capacity:     le.Uint64(b[12:]),
		grain:        le.Uint64(b[20:]),
		descriptorAt: le.Uint64(b[28:]),
		descriptorN:  le.Uint64(b[36:]),
		entries:      le.Uint32(b[44:]),
		directoryAt:  le.Uint64(b[56:]),
		unclean:      b[72] != 0,
		compression:  le.Uint16(b[77:]),
	}
}

// parseCOWD takes the header of a sparse extent of an ESX host: 4096 grains in
// each table, and no descriptor. Where a base disk has its geometry, a delta has
// the name of its parent.
func parseCOWD(b []byte) (header, error) {
	le := binary.LittleEndian
	if v := le.Uint32(b[4:]); v != 1 {
		return header{}, format.Unsupported(4, "version", "COWD version %d", v)
	}
	if name, _, _ := bytes.Cut(b[32:], []byte{0}); len(name) > 4 {
		return header{}, format.Unsupported(32, "parent", "%w, %.200q", imageerr.ErrDelta, name)
	}
	h := header{
		version:     1,
		capacity:    uint64(le.Uint32(b[12:])),
		grain:       uint64(le.Uint32(b[16:])),
		entries:     cowdEntries,
		directoryAt: uint64(le.Uint32(b[20:])),
		esx:         true,
	}
	// A text may follow the header, up to the directory.
	if h.directoryAt > 1 {
		h.descriptorAt, h.descriptorN = 1, min(h.directoryAt-1, 20)
	}
	need := imagefmt.CeilDiv(int64(h.capacity), max(int64(h.grain), 1)*cowdEntries)
	if n := int64(le.Uint32(b[24:])); n < need {
		return header{}, format.Damaged(24, "directory entries", "%d for %d tables", n, need)
	}
	return h, nil
}
