package lvm

import (
	"cmp"
	"fmt"
	"io"
	"slices"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

// segment is a range of a logical volume.
type segment struct {
	start, length int64 // bytes
	stripe        int64 // bytes, of a striped segment
	parts         []part
}

// part is where a stripe's data is: on a physical volume, or in another volume.
type part struct {
	pv     string
	lv     string
	offset int64 // bytes, from the first extent
}

// read takes the segments of a volume.
func (v *Volume) read(s *section) {
	extent := v.group.extent
	count := s.number("segment_count")
	if extent <= 0 || extent > 1<<40 || count < 0 || count > maxSegments {
		v.Reason = fmt.Sprintf("damaged metadata: %d segments of extents of %d bytes", count, extent)
		return
	}
	for i := range count {
		seg := s.sub(fmt.Sprintf("segment%d", i+1))
		kind := seg.text("type")
		if kind == "striped" && len(seg.list("stripes")) <= 2 {
			kind = "linear"
		}
		if i == 0 {
			v.Type = kind
		}
		from, n := seg.number("start_extent"), seg.number("extent_count")
		if from < 0 || n <= 0 || from > (1<<62)/extent || n > (1<<62)/extent-from {
			v.Reason = "damaged metadata: extents"
			return
		}
		v.Size = max(v.Size, (from+n)*extent)
		x := segment{start: from * extent, length: n * extent, stripe: seg.number("stripe_size") * 512}
		switch kind {
		case "linear", "striped":
			x.parts = v.stripes(seg.list("stripes"))
		case "raid1":
			x.parts = v.mirror(seg.list("raids"))
		case "mirror":
			x.parts = v.stripes(seg.list("mirrors"))
		default:
			v.Reason = fmt.Sprintf("logical volumes of type %q are not read", kind)
			return
		}
		if len(x.parts) == 0 || len(x.parts) > 128 || len(x.parts) > 1 && kind == "striped" && (x.stripe <= 0 || x.stripe > 1<<30) {
			v.Reason = "damaged metadata: stripes"
			return
		}
		v.segments = append(v.segments, x)
	}
	slices.SortFunc(v.segments, func(a, b segment) int { return cmp.Compare(a.start, b.start) })
}

// stripes reads pairs of a volume's name and an extent's number.
func (v *Volume) stripes(list []any) (parts []part) {
	for i := 0; i+1 < len(list); i += 2 {
		name, ok1 := list[i].(string)
		extent, ok2 := list[i+1].(int64)
		if !ok1 || !ok2 || extent < 0 || extent > (1<<62)/v.group.extent {
			return nil
		}
		p := part{offset: extent * v.group.extent}
		if _, ok := v.group.pvs[name]; ok {
			p.pv = name
		} else {
			p.lv = name
		}
		parts = append(parts, p)
	}
	return parts
}

// mirror reads pairs of a volume of metadata and one of data, of which each has
// all the data; the first that can be read will do.
func (v *Volume) mirror(list []any) (parts []part) {
	for i := 1; i < len(list); i += 2 {
		if name, ok := list[i].(string); ok {
			parts = append(parts, part{lv: name})
		}
	}
	return parts
}

const maxStack = 4 // volumes on volumes

// check finds why a volume cannot be read, if it cannot. Each volume is looked at
// once, whatever lies on it.
func (v *Volume) check() {
	if v.state != unchecked {
		return
	}
	v.state = checking
	if v.Reason == "" {
		v.Reason = v.missing()
	}
	end := int64(0)
	for _, s := range v.segments {
		if s.start < end {
			v.Reason = "damaged metadata: segments overlap"
		}
		end = s.start + s.length
	}
	v.state = checked
}

func (v *Volume) missing() string {
	for i := range v.segments {
		s := &v.segments[i]
		if v.Type == "raid1" || v.Type == "mirror" {
			if !v.pick(s) {
				return "no copy of its data is on the disk"
			}
			continue
		}
		for _, p := range s.parts {
			if why := v.partMissing(p); why != "" {
				return why
			}
		}
	}
	return ""
}

// pick leaves the first copy of a mirror that can be read.
func (v *Volume) pick(s *segment) bool {
	for _, p := range s.parts {
		if v.partMissing(p) == "" {
			s.parts = []part{p}
			return true
		}
	}
	return false
}

func (v *Volume) partMissing(p part) string {
	if p.pv != "" {
		if v.group.pvs[p.pv].ra == nil {
			return fmt.Sprintf("physical volume %s is not on the disk", p.pv)
		}
		return ""
	}
	sub := v.group.volumes[p.lv]
	if sub == nil || sub.state == checking {
		return fmt.Sprintf("damaged metadata: volume %s", p.lv)
	}
	sub.check()
	return sub.Reason
}

// ReadAt implements io.ReaderAt.
func (v *Volume) ReadAt(p []byte, off int64) (n int, err error) { return v.readAt(p, off, 0) }

func (v *Volume) readAt(p []byte, off int64, depth int) (n int, err error) {
	if v.Reason != "" || depth > maxStack {
		return 0, vfs.Unsupported("%s: %s", v.Name, v.Reason)
	}
	for n < len(p) {
		at := off + int64(n)
		if at < 0 || at >= v.Size {
			return n, io.EOF
		}
		i, ok := slices.BinarySearchFunc(v.segments, at, func(s segment, at int64) int {
			if at < s.start {
				return 1
			}
			if at >= s.start+s.length {
				return -1
			}
			return 0
		})
		if !ok {
			return n, vfs.Damaged("%s: no segment at %d", v.Name, at)
		}
		k, err := v.readSegment(&v.segments[i], p[n:], at-v.segments[i].start, depth)
		n += k
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// readSegment reads up to the end of the stripe or segment.
func (v *Volume) readSegment(s *segment, p []byte, off int64, depth int) (int, error) {
	at, room, from := off, s.length-off, s.parts[0]
	if len(s.parts) > 1 {
		row := off / s.stripe
		from = s.parts[row%int64(len(s.parts))]
		at = row/int64(len(s.parts))*s.stripe + off%s.stripe
		room = min(room, s.stripe-off%s.stripe)
	}
	p = p[:min(int64(len(p)), room)]
	if from.pv == "" {
		return v.group.volumes[from.lv].readAt(p, from.offset+at, depth+1)
	}
	pv := v.group.pvs[from.pv]
	return len(p), vfs.ReadFull(pv.ra, p, pv.start+from.offset+at)
}
