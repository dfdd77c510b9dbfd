package vhd

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"github.com/fastimage/fastimage/internal/imagefmt"
)

// SizeSource is which of its two sizes a VHD's disk has.
type SizeSource string

// The two sizes of a VHD. They differ where the size is no whole number of
// cylinders.
const (
	SizeGeometry SizeSource = "geometry"     // cylinders, heads and sectors
	SizeCurrent  SizeSource = "current size" // the field of that name in the footer
)

// geometryCreators present the geometry to the guest: Virtual PC, Virtual Server
// and qemu-img without force_size. All others mean the current size.
var geometryCreators = map[string]bool{"vpc ": true, "vs  ": true, "qemu": true}

// sizes are the sizes in the footer, in bytes of whole sectors.
func (f *footer) sizes() (geometry, current uint64) {
	return uint64(f.cylinders) * uint64(f.heads) * uint64(f.sectors) * sectorSize, f.currentSize / sectorSize * sectorSize
}

// usualSource is what the creator means. The largest geometry there is says that
// the disk is larger.
func (f *footer) usualSource() SizeSource {
	geometry, current := f.sizes()
	if geometry == 0 || geometry == maxGeometry*sectorSize || current != 0 && !geometryCreators[f.creatorApp] {
		return SizeCurrent
	}
	return SizeGeometry
}

// chooseSize decides which size the disk has, and says why: what the caller
// wants, what the file proves, or what the creator means.
func (r *Reader) chooseSize(f footer, at int64, o *options) (SizeSource, string, error) {
	geometry, current := f.sizes()
	if max(geometry, current) > math.MaxInt64-sectorSize {
		return "", "", format.Damaged(at, "footer size", "%d bytes", max(geometry, current))
	}
	usual, other := f.usualSource(), SizeGeometry
	if usual == SizeGeometry {
		other = SizeCurrent
	}
	switch {
	case o.size != "":
		return o.size, "as requested", nil
	case geometry == current, geometry == 0, current == 0, geometry == maxGeometry*sectorSize:
		return usual, "", nil
	case f.diskType == typeFixed && at == f.size(usual):
		return usual, "the length of the file", nil
	case f.diskType == typeFixed && at == f.size(other):
		return other, "the length of the file", nil
	case f.size(other) > f.size(usual):
		if proof := r.provesLarger(f, at, o, other); proof != "" {
			return other, proof, nil
		}
	}
	return usual, fmt.Sprintf("what the creator %q means", f.creatorApp), nil
}

// size is a size of the footer.
func (f *footer) size(s SizeSource) int64 {
	geometry, current := f.sizes()
	if s == SizeGeometry {
		return int64(geometry)
	}
	return int64(current)
}

// provesLarger opens the disk with the larger size and looks for what lies past
// the smaller one: a block that is stored, or the end of a partition table. It
// returns what that is, "" for nothing.
func (r *Reader) provesLarger(f footer, at int64, o *options, larger SizeSource) string {
	geometry, current := f.sizes()
	small, large := int64(min(geometry, current)), int64(max(geometry, current))
	trial := newReader(r.disk.Source, r.disk.FileSize, f, large)
	if err := trial.open(f, at, o.maxTable); err != nil {
		return ""
	}
	if d := &trial.disk; f.diskType == typeDynamic {
		for _, e := range d.Entries[min(imagefmt.CeilDiv(small, d.BlockSize), int64(len(d.Entries))):] {
			if e != imagefmt.NoBlock {
				return "a block past the geometry"
			}
		}
	}
	if end := tableEnd(&trial.disk); end > small && end <= large {
		return "the partition table"
	}
	return ""
}

// tableEnd returns where the last partition of an MBR ends, or the disk by its
// GPT; 0 if there is no table. It reads two sectors.
func tableEnd(ra io.ReaderAt) (end int64) {
	b := make([]byte, 2*sectorSize)
	if n, _ := ra.ReadAt(b, 0); n < len(b) || b[510] != 0x55 || b[511] != 0xaa {
		return 0
	}
	le := binary.LittleEndian
	for i := 446; i < 510; i += 16 {
		if kind := b[i+4]; kind != 0 && kind != 0xee {
			end = max(end, (int64(le.Uint32(b[i+8:]))+int64(le.Uint32(b[i+12:])))*sectorSize)
		}
	}
	if backup := le.Uint64(b[sectorSize+32:]); string(b[sectorSize:][:8]) == "EFI PART" && backup < math.MaxInt64/sectorSize {
		end = max(end, (int64(backup)+1)*sectorSize)
	}
	return end
}
