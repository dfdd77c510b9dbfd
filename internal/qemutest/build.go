package qemutest

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
)

// Layout is a disk to build an image of, byte by byte and without the help of
// another program.
type Layout struct {
	Blocks int64   // that the disk has
	Block  int64   // bytes of each
	Stored []int64 // blocks with data, in the order of their places in the file
	// Every, for formats with two levels of tables, is how many blocks a table
	// maps; 0 for what is usual.
	Every int64
}

// Size is that of the disk.
func (l Layout) Size() int64 { return l.Blocks * l.Block }

// Content is what block i holds, if it is stored.
func (l Layout) Content(i int64) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(i)+1), int(l.Block/8))
}

// store puts the stored blocks one after the other, from at on, with room for
// extra bytes before each, and calls entry with the place of each block and of its
// data. It returns the end.
func (l Layout) store(f *File, at, extra, align int64, entry func(block, place, data int64)) int64 {
	for _, i := range l.Stored {
		at = (at + align - 1) / align * align
		f.Put(at+extra, l.Content(i))
		entry(i, at, at+extra)
		at += extra + l.Block
	}
	f.Len = max(f.Len, at)
	return at
}

// VDI builds a dynamic VDI.
func (l Layout) VDI() *File {
	f, le := new(File), binary.LittleEndian
	const mapAt = 512
	dataAt := (mapAt + l.Blocks*4 + 511) / 512 * 512
	for off, v := range map[int64]any{
		0x40: uint32(0xBEDA107F), 0x44: uint32(0x00010001), 0x48: uint32(0x190), 0x4c: uint32(1),
		0x154: uint32(mapAt), 0x158: uint32(dataAt), 0x168: uint32(512), 0x170: uint64(l.Size()),
		0x178: uint32(l.Block), 0x180: uint32(l.Blocks), 0x184: uint32(len(l.Stored)),
		0x188: "0123456789abcdef",
	} {
		put(f, le, off, v)
	}
	f.Put(mapAt, bytes.Repeat([]byte{0xff}, int(l.Blocks*4)))
	f.Len = dataAt
	l.store(f, dataAt, 0, 1, func(i, place, _ int64) { put(f, le, mapAt+i*4, uint32((place-dataAt)/l.Block)) })
	return f
}

// VHD builds a dynamic VHD.
func (l Layout) VHD() *File {
	f, be := new(File), binary.BigEndian
	const tableAt = 1536
	footer := make([]byte, 512)
	copy(footer, "conectix")
	be.PutUint32(footer[8:], 2)
	be.PutUint32(footer[12:], 0x10000)
	be.PutUint64(footer[16:], 512)
	copy(footer[28:], "win ")
	be.PutUint64(footer[40:], uint64(l.Size()))
	be.PutUint64(footer[48:], uint64(l.Size()))
	copy(footer[56:], "\xff\xff\x10\xff")
	be.PutUint32(footer[60:], 3)
	sumVHD(footer, 64)
	header := make([]byte, 1024)
	copy(header, "cxsparse\xff\xff\xff\xff\xff\xff\xff\xff")
	be.PutUint64(header[16:], tableAt)
	be.PutUint32(header[24:], 0x10000)
	be.PutUint32(header[28:], uint32(l.Blocks))
	be.PutUint32(header[32:], uint32(l.Block))
	sumVHD(header, 36)
	f.Put(0, footer)
	f.Put(512, header)
	f.Put(tableAt, bytes.Repeat([]byte{0xff}, int(l.Blocks*4+511)/512*512))
	bitmap := (l.Block/512 + 4095) / 4096 * 512
	end := l.store(f, f.Len, bitmap, 512, func(i, place, _ int64) {
		put(f, be, tableAt+i*4, uint32(place/512))
		f.Put(place, bytes.Repeat([]byte{0xff}, int(bitmap)))
	})
	f.Put(end, footer)
	return f
}

func sumVHD(b []byte, field int) {
	var sum uint32
	for _, c := range b {
		sum += uint32(c)
	}
	binary.BigEndian.PutUint32(b[field:], ^sum)
}

// VHDX builds a dynamic VHDX with logical sectors of 512 or 4096 bytes.
func (l Layout) VHDX(logical int64) *File {
	f, le := new(File), binary.LittleEndian
	perChunk := logical << 23 / l.Block
	entries := l.Blocks + (l.Blocks-1)/perChunk
	const logAt, metaAt, batAt = MiB, 2 * MiB, 3 * MiB
	batSize := (entries*8 + MiB - 1) / MiB * MiB
	put(f, le, 0, "vhdxfile")
	for i, at := range []int64{64 * KiB, 128 * KiB} {
		h := make([]byte, 4096)
		copy(h, "head")
		le.PutUint64(h[8:], uint64(i)+1)
		copy(h[16:], "0123456789abcdef0123456789abcdef")
		le.PutUint16(h[66:], 1)
		le.PutUint32(h[68:], uint32(MiB))
		le.PutUint64(h[72:], uint64(logAt))
		sumVHDX(h)
		f.Put(at, h)
	}
	regions := make([]byte, 64*KiB)
	copy(regions, "regi")
	le.PutUint32(regions[8:], 2)
	for i, r := range []struct {
		id       string
		at, size int64
	}{{"2DC27766F62342009D64115E9BFD4A08", batAt, batSize}, {"8B7CA20647904B9AB8FE575F050F886E", metaAt, MiB}} {
		e := regions[16+i*32:]
		copy(e, guid(r.id))
		le.PutUint64(e[16:], uint64(r.at))
		le.PutUint32(e[24:], uint32(r.size))
		le.PutUint32(e[28:], 1)
	}
	sumVHDX(regions)
	f.Put(192*KiB, regions)
	f.Put(256*KiB, regions)
	put(f, le, metaAt, "metadata")
	items := []struct {
		id    string
		value []byte
		flags uint32
	}{
		{"CAA16737FA364D43B3B633F0AA44E76B", le.AppendUint64(nil, uint64(l.Block)), 4},
		{"2FA54224CD1B4876B2115DBED83BF4B8", le.AppendUint64(nil, uint64(l.Size())), 6},
		{"BECA12ABB2E6452393EFC309E000C746", []byte("0123456789abcdef"), 6},
		{"8141BF1DA96F4709BA47F233A8FAAB5F", le.AppendUint32(nil, uint32(logical)), 6},
		{"CDA348C7445D44719CC9E9885251C556", le.AppendUint32(nil, 4096), 6},
	}
	put(f, le, metaAt+10, uint16(len(items)))
	for i, item := range items {
		at, off := metaAt+32+int64(i)*32, 64*KiB+int64(i)*64
		f.Put(at, guid(item.id))
		put(f, le, at+16, uint32(off))
		put(f, le, at+20, uint32(len(item.value)))
		put(f, le, at+24, item.flags)
		f.Put(metaAt+off, item.value)
	}
	f.Len = batAt + batSize
	l.store(f, f.Len, 0, MiB, func(i, place, _ int64) { put(f, le, batAt+(i+i/perChunk)*8, uint64(place)|6) })
	return f
}

func guid(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err) // one of the constants above
	}
	b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7] = b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6]
	return b
}

func sumVHDX(b []byte) {
	binary.LittleEndian.PutUint32(b[4:], crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli)))
}

// VMDK builds a sparse VMDK with its descriptor.
func (l Layout) VMDK() *File {
	f, le := new(File), binary.LittleEndian
	per := l.Every
	if per == 0 {
		per = 512
	}
	const descriptorAt, descriptorN = 1, 20
	text := fmt.Sprintf("# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\ncreateType=\"monolithicSparse\"\nRW %d SPARSE \"disk\"\nddb.adapterType = \"ide\"\n", l.Size()/512)
	for off, v := range map[int64]any{
		0: "KDMV", 4: uint32(1), 8: uint32(1), 12: uint64(l.Size() / 512), 20: uint64(l.Block / 512),
		28: uint64(descriptorAt), 36: uint64(descriptorN), 44: uint32(per), 56: uint64(descriptorAt + descriptorN),
		64: uint64(descriptorAt + descriptorN), 73: "\n \r\n", descriptorAt * 512: text,
	} {
		put(f, le, off, v)
	}
	l.grains(f, (descriptorAt+descriptorN)*512, per)
	return f
}

// COWD builds a sparse extent of an ESX host.
func (l Layout) COWD() *File {
	f, le := new(File), binary.LittleEndian
	tables := (l.Blocks + 4095) / 4096
	for off, v := range map[int64]any{
		0: "COWD", 4: uint32(1), 8: uint32(3), 12: uint32(l.Size() / 512), 16: uint32(l.Block / 512),
		20: uint32(4), 24: uint32(tables), 28: uint32(0), 32: uint32(8), 36: uint32(16), 40: uint32(63),
		// Without which qemu-img does not open it.
		512: "CID=fffffffe\nparentCID=ffffffff\n",
	} {
		put(f, le, off, v)
	}
	l.grains(f, 4*512, 4096)
	return f
}

// grains builds the directory at dirAt, the tables that have grains, and these.
func (l Layout) grains(f *File, dirAt, per int64) {
	le := binary.LittleEndian
	tables := (l.Blocks + per - 1) / per
	next := (dirAt + tables*4 + 511) / 512 * 512
	places := make(map[int64]int64)
	for _, i := range l.Stored {
		if t := i / per; places[t] == 0 {
			places[t] = next
			put(f, le, dirAt+t*4, uint32(next/512))
			next += (per*4 + 511) / 512 * 512
		}
	}
	f.Len = max(f.Len, next)
	l.store(f, next, 0, l.Block, func(i, place, _ int64) { put(f, le, places[i/per]+i%per*4, uint32(place/512)) })
}

// QCOW2 builds an image of version 2 or 3. Every is of no account: an L2 table
// maps as many clusters as a cluster has entries.
func (l Layout) QCOW2(version uint32) *File {
	f, be := new(File), binary.BigEndian
	bits := uint32(0)
	for 1<<bits < l.Block {
		bits++
	}
	per := l.Block / 8
	tables := (l.Blocks + per - 1) / per
	l1At := 2 * l.Block
	for off, v := range map[int64]any{
		0: "QFI\xfb", 4: version, 20: bits, 24: uint64(l.Size()), 36: uint32(tables), 40: uint64(l1At),
		48: uint64(l.Block), 56: uint32(1),
	} {
		put(f, be, off, v)
	}
	if version == 3 {
		put(f, be, 96, uint32(4))
		put(f, be, 100, uint32(104))
	}
	next := l1At + (tables*8+l.Block-1)/l.Block*l.Block
	places := make(map[int64]int64)
	for _, i := range l.Stored {
		if t := i / per; places[t] == 0 {
			places[t] = next
			put(f, be, l1At+t*8, uint64(next)|1<<63)
			next += l.Block
		}
	}
	f.Len = max(f.Len, next)
	l.store(f, next, 0, l.Block, func(i, place, _ int64) { put(f, be, places[i/per]+i%per*8, uint64(place)|1<<63) })
	return f
}
