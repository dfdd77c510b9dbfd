// Package lvm reads volume groups of LVM2 from their physical volumes: linear and
// striped logical volumes, and those mirrored by RAID 1. Others are named, not read.
package lvm

import (
	"encoding/binary"
	"io"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/probe"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

const (
	maxMetadata = 16 << 20 // of text; LVM's own default is 1 MiB
	maxVolumes  = 4096     // logical volumes in a group
	maxSegments = 1 << 16  // of one logical volume
	mdaMagic    = " LVM2 x[5A%r0N*>"
)

var le = binary.LittleEndian

// PV is a physical volume.
type PV struct {
	ID    string
	ra    io.ReaderAt
	size  int64
	areas []area // of metadata
}

type area struct{ offset, size int64 }

// Open reads the label of a physical volume that is size bytes long.
func Open(ra io.ReaderAt, size int64) (*PV, error) {
	head := make([]byte, 4096)
	if err := vfs.ReadFull(ra, head, 0); err != nil {
		return nil, err
	}
	for sector := range 4 {
		p := head[sector*512:]
		if string(p[:8]) != "LABELONE" || string(p[24:32]) != "LVM2 001" {
			continue
		}
		at := int64(sector*512) + int64(le.Uint32(p[20:]))
		if at+40 > int64(len(head)) {
			return nil, vfs.Damaged("LVM label")
		}
		pv := &PV{ID: probe.LVMID(head[at : at+32]), ra: ra, size: size}
		pv.areas = areas(head[at+40:])
		return pv, nil
	}
	return nil, vfs.Damaged("no LVM label")
}

// areas reads two lists of offset and size, each ended by zeros: areas of data,
// then areas of metadata.
func areas(p []byte) (list []area) {
	for lists := 0; len(p) >= 16 && lists < 2; p = p[16:] {
		a := area{int64(le.Uint64(p)), int64(le.Uint64(p[8:]))}
		switch {
		case a.offset == 0:
			lists++
		case lists == 1:
			list = append(list, a)
		}
	}
	return list
}

// metadata returns the text of the area with the highest sequence number, nil if
// the physical volume has none or belongs to no group.
func (pv *PV) metadata() (best *section, name string, err error) {
	for _, a := range pv.areas {
		text, e := pv.text(a)
		if e != nil || text == "" {
			err = e
			continue
		}
		root, e := parse(text)
		if e != nil {
			err = e
			continue
		}
		for _, n := range root.order {
			if vg := root.subs[n]; vg.text("id") != "" && (best == nil || vg.number("seqno") > best.number("seqno")) {
				best, name = vg, n
			}
		}
	}
	if best != nil {
		err = nil
	}
	return best, name, err
}

// text reads an area's current metadata, from a ring that begins after its
// header.
func (pv *PV) text(a area) (string, error) {
	const header = 512
	p := make([]byte, header)
	if a.offset < 0 || a.size < header || a.offset > pv.size || a.size > pv.size-a.offset {
		return "", vfs.Damaged("LVM metadata area of %d bytes at %d", a.size, a.offset)
	}
	if err := vfs.ReadFull(pv.ra, p, a.offset); err != nil {
		return "", err
	}
	if string(p[4:20]) != mdaMagic {
		return "", vfs.Damaged("LVM metadata area: no magic")
	}
	off, size := int64(le.Uint64(p[40:])), int64(le.Uint64(p[48:]))
	if off == 0 || size == 0 {
		return "", nil
	}
	if size > maxMetadata {
		return "", vfs.Damaged("LVM metadata of %d bytes", size)
	}
	if off < header || off >= a.size || size < 0 || size > a.size-header {
		return "", vfs.Damaged("LVM metadata of %d bytes at %d", size, off)
	}
	text := make([]byte, size)
	n := min(size, a.size-off)
	if err := vfs.ReadFull(pv.ra, text[:n], a.offset+off); err != nil {
		return "", err
	}
	if err := vfs.ReadFull(pv.ra, text[n:], a.offset+header); err != nil {
		return "", err
	}
	return string(text), nil
}

// Group is a volume group.
type Group struct {
	Name    string
	ID      string
	PVs     int      // physical volumes that the group has
	Missing []string // what is known of those that are not on the disk
	Volumes []*Volume
}

// Volume is a logical volume.
type Volume struct {
	Name    string
	ID      string
	Type    string // of its first segment: "linear", "striped", "thin", ...
	Size    int64  // bytes
	Visible bool   // not a part of another volume
	Reason  string // why it cannot be read, "" if it can

	group    *groupReader
	segments []segment
	state    int // of check
}

// States of a volume's check.
const (
	unchecked = iota
	checking
	checked
)

// Assemble puts the groups together that physical volumes belong to. Metadata
// that cannot be read is in errs.
func Assemble(pvs []*PV) (groups []*Group, errs []error) {
	byID := map[string]*groupReader{}
	var order []*groupReader
	for _, pv := range pvs {
		meta, name, err := pv.metadata()
		if err != nil {
			errs = append(errs, err)
		}
		if meta == nil {
			continue
		}
		g := byID[meta.text("id")]
		if g == nil {
			g = &groupReader{name: name}
			byID[meta.text("id")] = g
			order = append(order, g)
		}
		if g.meta == nil || meta.number("seqno") > g.meta.number("seqno") {
			g.meta, g.name = meta, name
		}
	}
	for _, g := range order {
		groups = append(groups, g.assemble(pvs))
	}
	return groups, errs
}

// groupReader is what reading a group takes.
type groupReader struct {
	name    string
	meta    *section
	extent  int64 // bytes
	pvs     map[string]physical
	volumes map[string]*Volume
}

type physical struct {
	ra    io.ReaderAt // nil if the disk does not have it
	start int64       // of its first extent, in bytes
}

func (r *groupReader) assemble(pvs []*PV) *Group {
	g := &Group{Name: r.name, ID: r.meta.text("id")}
	r.extent = r.meta.number("extent_size") * 512
	r.pvs, r.volumes = map[string]physical{}, map[string]*Volume{}
	all := r.meta.sub("physical_volumes")
	for _, name := range all.order {
		s := all.subs[name]
		g.PVs++
		p := physical{start: s.number("pe_start") * 512}
		for _, pv := range pvs {
			if pv.ID == s.text("id") {
				p.ra = pv.ra
			}
		}
		if p.ra == nil {
			g.Missing = append(g.Missing, strings.TrimSpace(s.text("id")+" "+s.text("device")))
		}
		r.pvs[name] = p
	}
	lvs := r.meta.sub("logical_volumes")
	for _, name := range lvs.order[:min(len(lvs.order), maxVolumes)] {
		v := &Volume{Name: name, ID: lvs.subs[name].text("id"), group: r, Visible: lvs.subs[name].has("status", "VISIBLE")}
		v.read(lvs.subs[name])
		r.volumes[name] = v
		g.Volumes = append(g.Volumes, v)
	}
	for _, v := range g.Volumes {
		v.check()
	}
	return g
}
