package vhdx

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"

	"github.com/fastimage/fastimage/internal/imageerr"
)

// region is a part of the file.
type region struct{ at, size int64 }

func (a region) overlaps(b region) bool { return a.at < b.at+b.size && b.at < a.at+a.size }

// readRegions finds the allocation table and the metadata. There are two copies
// of the region table; the second serves where the first is damaged.
func (r *Reader) readRegions(size int64) (map[guid]region, error) {
	b := make([]byte, regionSize)
	for _, at := range []int64{region1At, region2At} {
		if err := readFull(r.disk.Source, b, at, "region table"); err != nil {
			return nil, err
		}
		if string(b[:4]) == "regi" && checksumOK(b) {
			return parseRegions(b, at, size)
		}
	}
	return nil, format.Damaged(region1At, "region table", "neither of the two is valid")
}

func parseRegions(b []byte, at, size int64) (map[guid]region, error) {
	le := binary.LittleEndian
	n := le.Uint32(b[8:])
	if n > maxEntries {
		return nil, format.Damaged(at+8, "region table", "%d entries", n)
	}
	regions := make(map[guid]region)
	for i := range int64(n) {
		e := b[16+i*32:][:32]
		id, start, length := guid(e), le.Uint64(e[16:]), int64(le.Uint32(e[24:]))
		field := at + 16 + i*32
		if id != batGUID && id != metadataGUID {
			if le.Uint32(e[28:])&1 != 0 {
				return nil, format.Unsupported(field, "region", "%x is required and not known", id)
			}
			continue
		}
		if _, ok := regions[id]; ok {
			return nil, format.Damaged(field, "region", "%x is there twice", id)
		}
		if start < tablesEnd || start%mib != 0 || length == 0 || start >= 1<<62 {
			return nil, format.Damaged(field, "region", "%d bytes at %d", length, start)
		}
		if start > uint64(size) || length > size-int64(start) {
			return nil, format.Truncated(field, "region", "%d bytes at %d are outside the file", length, start)
		}
		regions[id] = region{int64(start), length}
	}
	if len(regions) != 2 {
		return nil, format.Damaged(at, "region table", "has no allocation table or no metadata")
	}
	if regions[batGUID].overlaps(regions[metadataGUID]) {
		return nil, format.Damaged(at, "region table", "the allocation table overlaps the metadata")
	}
	return regions, nil
}

// metadata is what a disk without a parent has of it.
type metadata struct {
	size      int64
	blockSize int64
	fixed     bool
	logical   uint32
	physical  uint32
	id        [16]byte
}

// readMetadata reads the table at the beginning of the region and its items.
func (r *Reader) readMetadata(reg region) (metadata, error) {
	if reg.size < metadataTable {
		return metadata{}, format.Damaged(reg.at, "metadata", "%d bytes", reg.size)
	}
	b := make([]byte, metadataTable)
	if err := readFull(r.disk.Source, b, reg.at, "metadata table"); err != nil {
		return metadata{}, err
	}
	le := binary.LittleEndian
	n := int64(le.Uint16(b[10:]))
	if string(b[:8]) != "metadata" || n > maxEntries {
		return metadata{}, format.Damaged(reg.at, "metadata table", "%q with %d entries", b[:8], n)
	}
	items := make(map[guid][]byte)
	for i := range n {
		e := b[32+i*32:][:32]
		id, at, length := guid(e), int64(le.Uint32(e[16:])), int64(le.Uint32(e[20:]))
		field := reg.at + 32 + i*32
		want, known := itemSize[id]
		if id == parentGUID {
			return metadata{}, format.Unsupported(field, "parent locator", "%w", imageerr.ErrDelta)
		}
		if !known {
			if le.Uint32(e[24:])&4 != 0 {
				return metadata{}, format.Unsupported(field, "metadata item", "%x is required and not known", id)
			}
			continue
		}
		if items[id] != nil {
			return metadata{}, format.Damaged(field, "metadata item", "%x is there twice", id)
		}
		if length < want || at < metadataTable || at > reg.size-want {
			return metadata{}, format.Damaged(field, "metadata item", "%d bytes at %d of the region", length, at)
		}
		item := make([]byte, want)
		if err := readFull(r.disk.Source, item, reg.at+at, "metadata item"); err != nil {
			return metadata{}, err
		}
		items[id] = item
	}
	return parseItems(items, reg.at)
}

// itemSize is how long the items are that this package reads.
var itemSize = map[guid]int64{
	fileParametersGUID: 8, diskSizeGUID: 8, diskIDGUID: 16, logicalGUID: 4, physicalGUID: 4,
}

func parseItems(items map[guid][]byte, at int64) (metadata, error) {
	le := binary.LittleEndian
	params, size, logical := items[fileParametersGUID], items[diskSizeGUID], items[logicalGUID]
	if params == nil || size == nil || logical == nil {
		return metadata{}, format.Damaged(at, "metadata table", "lacks the block size, the disk size or the sector size")
	}
	m := metadata{blockSize: int64(le.Uint32(params)), logical: le.Uint32(logical)}
	flags, n := le.Uint32(params[4:]), le.Uint64(size)
	m.fixed = flags&1 != 0
	if b := items[physicalGUID]; b != nil {
		m.physical = le.Uint32(b)
	}
	if b := items[diskIDGUID]; b != nil {
		m.id = [16]byte(b)
	}
	switch {
	case flags&2 != 0:
		return m, format.Unsupported(at, "parent", "%w", imageerr.ErrDelta)
	case m.blockSize < minBlock || m.blockSize > maxBlock || bits.OnesCount64(uint64(m.blockSize)) != 1:
		return m, format.Damaged(at, "block size", "%d", m.blockSize)
	case m.logical != 512 && m.logical != 4096:
		return m, format.Damaged(at, "sector size", "%d", m.logical)
	case n == 0 || n > maxSize || n%512 != 0:
		return m, format.Damaged(at, "disk size", "%d bytes", n)
	}
	m.size = int64(n)
	return m, nil
}

// utf16Text decodes text up to its first zero.
func utf16Text(b []byte) string {
	var u []uint16
	for ; len(b) >= 2; b = b[2:] {
		c := binary.LittleEndian.Uint16(b)
		if c == 0 {
			break
		}
		u = append(u, c)
	}
	return string(utf16.Decode(u))
}
