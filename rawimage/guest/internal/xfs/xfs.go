// Package xfs reads XFS file systems of versions 4 and 5, hostile ones too. It
// does not replay the log.
package xfs

import (
	"encoding/binary"
	"io"
	"io/fs"
	"time"

	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
)

var be = binary.BigEndian

// Incompatible features of version 5 that are read.
const (
	incompatFType   = 0x1
	incompatSparse  = 0x2
	incompatUUID    = 0x4
	incompatBigTime = 0x8
	incompatRepair  = 0x10
	incompatNrext64 = 0x20
	incompatExchg   = 0x40
	incompatParent  = 0x80

	incompatKnown = 0xff
)

// FS is a file system.
type FS struct {
	ra        io.ReaderAt
	block     int64
	blocks    int64 // of the file system
	agBlocks  int64
	ags       int64
	agBlkLog  uint
	inoPBLog  uint // log2 of inodes per block
	inodeSize int64
	dirBlock  int64 // bytes
	root      uint64
	v5        bool
	fileType  bool // entries of directories have a type
	bigTime   bool
}

// New opens the file system that ra, size bytes long, holds.
func New(ra io.ReaderAt, size int64) (*FS, error) {
	sb := make([]byte, 264)
	if err := vfs.ReadFull(ra, sb, 0); err != nil {
		return nil, err
	}
	if string(sb[:4]) != "XFSB" {
		return nil, vfs.Damaged("no XFS superblock")
	}
	f := &FS{
		ra: ra, block: int64(be.Uint32(sb[4:])), blocks: int64(be.Uint64(sb[8:])),
		root: be.Uint64(sb[56:]), agBlocks: int64(be.Uint32(sb[84:])), ags: int64(be.Uint32(sb[88:])),
		inodeSize: int64(be.Uint16(sb[104:])), inoPBLog: uint(sb[123]), agBlkLog: uint(sb[124]),
	}
	version := be.Uint16(sb[100:])
	dirLog := uint(sb[192])
	if err := f.check(size, dirLog); err != nil {
		return nil, err
	}
	f.dirBlock = f.block << dirLog
	switch version & 0xf {
	case 4:
		if version&0x2000 == 0 {
			return nil, vfs.Unsupported("XFS directories of version 1")
		}
		f.fileType = version&0x8000 != 0 && be.Uint32(sb[200:])&0x200 != 0
	case 5:
		incompat := be.Uint32(sb[216:])
		if incompat&^incompatKnown != 0 {
			return nil, vfs.Unsupported("XFS features %#x", incompat&^incompatKnown)
		}
		f.v5, f.fileType, f.bigTime = true, incompat&incompatFType != 0, incompat&incompatBigTime != 0
	default:
		return nil, vfs.Unsupported("XFS version %d", version&0xf)
	}
	return f, nil
}

func (f *FS) check(size int64, dirLog uint) error {
	switch {
	case f.block < 512 || f.block > 65536 || f.block&(f.block-1) != 0:
		return vfs.Damaged("XFS block size %d", f.block)
	case f.inodeSize < 256 || f.inodeSize > 2048 || f.inodeSize > f.block || f.inodeSize&(f.inodeSize-1) != 0:
		return vfs.Damaged("XFS inode size %d", f.inodeSize)
	case f.inoPBLog > 8 || f.inodeSize<<f.inoPBLog != f.block || f.agBlkLog > 31 || f.agBlocks > 1<<f.agBlkLog:
		return vfs.Damaged("XFS superblock: logarithms")
	case f.agBlocks == 0 || f.ags == 0 || f.blocks <= 0 || f.blocks > size/f.block:
		return vfs.Damaged("XFS superblock: %d blocks of %d bytes", f.blocks, f.block)
	case dirLog > 7 || f.block<<dirLog > 65536:
		return vfs.Damaged("XFS directory block size")
	}
	return nil
}

// Root implements vfs.FileSystem.
func (f *FS) Root() uint64 { return f.root }

// FoldsCase implements vfs.FileSystem.
func (f *FS) FoldsCase() bool { return false }

// offset returns where a block number, group and block in it, is in bytes.
func (f *FS) offset(block uint64) (int64, error) {
	ag, in := int64(block>>f.agBlkLog), int64(block&(1<<f.agBlkLog-1))
	if ag >= f.ags || in >= f.agBlocks || ag*f.agBlocks+in >= f.blocks {
		return 0, vfs.Damaged("block %#x", block)
	}
	return (ag*f.agBlocks + in) * f.block, nil
}

// Open implements vfs.FileSystem.
func (f *FS) Open(id uint64) (vfs.Node, error) {
	at, err := f.offset(id >> f.inoPBLog)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, f.inodeSize)
	if err := vfs.ReadFull(f.ra, raw, at+int64(id&(1<<f.inoPBLog-1))*f.inodeSize); err != nil {
		return nil, err
	}
	return f.inode(id, raw)
}

// Formats of an inode's data.
const (
	formatLocal   = 1
	formatExtents = 2
	formatBtree   = 3
)

// inode parses an inode, whose fork begins after a core of 100 or 176 bytes.
func (f *FS) inode(id uint64, raw []byte) (*node, error) {
	if string(raw[:2]) != "IN" {
		return nil, vfs.Damaged("inode %d: no magic", id)
	}
	n := &node{fs: f, id: id, format: raw[5]}
	core := 100
	if raw[4] == 3 {
		core = 176
		if be.Uint64(raw[152:]) != id {
			return nil, vfs.Damaged("inode %d: says it is %d", id, be.Uint64(raw[152:]))
		}
	}
	n.info.Mode = vfs.UnixMode(uint32(be.Uint16(raw[2:])))
	n.info.Size = int64(be.Uint64(raw[56:]))
	if n.info.Size < 0 || be.Uint16(raw[2:]) == 0 {
		return nil, vfs.Damaged("inode %d: not in use", id)
	}
	n.extents = uint64(be.Uint32(raw[76:]))
	n.info.ModTime = time.Unix(int64(int32(be.Uint32(raw[40:]))), 0).UTC()
	if raw[4] == 3 {
		flags2 := be.Uint64(raw[120:])
		if flags2&0x10 != 0 { // nrext64
			n.extents = be.Uint64(raw[24:])
		}
		if flags2&0x8 != 0 { // bigtime: nanoseconds since 1901
			n.info.ModTime = time.Unix(int64(be.Uint64(raw[40:])/1e9)-(1<<31), 0).UTC()
		}
	}
	n.fork = raw[core:]
	if fork := int(raw[82]) * 8; fork > 0 {
		if fork > len(n.fork) {
			return nil, vfs.Damaged("inode %d: fork", id)
		}
		n.fork = n.fork[:fork]
	}
	return n, nil
}

type node struct {
	fs      *FS
	id      uint64
	info    vfs.Info
	format  byte
	extents uint64
	fork    []byte // of the data
}

func (n *node) Info() vfs.Info { return n.info }

func (n *node) ReadAt(p []byte, off int64) (int, error) {
	if n.format == formatLocal {
		if n.info.Size > int64(len(n.fork)) {
			return 0, vfs.Damaged("inode %d: local data", n.id)
		}
		return readSlice(p, n.fork[:n.info.Size], off)
	}
	extents, err := n.mapping(off, int64(len(p)))
	if err != nil {
		return 0, err
	}
	return vfs.ReadExtents(n.fs.ra, extents, n.info.Size, p, off)
}

func readSlice(p, data []byte, off int64) (int, error) {
	if off < 0 || off >= int64(len(data)) {
		return 0, io.EOF
	}
	k := copy(p, data[off:])
	if k < len(p) {
		return k, io.EOF
	}
	return k, nil
}

func (n *node) Readlink() (string, error) {
	if n.info.Size > vfs.MaxLink {
		return "", vfs.Damaged("symbolic link of %d bytes", n.info.Size)
	}
	p := make([]byte, n.info.Size)
	if n.format == formatLocal || !n.fs.v5 {
		err := vfs.ReadFull(n, p, 0)
		return string(p), err
	}
	// Version 5 puts a header before each stretch of the target.
	const header = 56
	raw := *n
	raw.info.Size = 4 * vfs.MaxLink
	block := make([]byte, n.fs.block)
	for done, at := 0, int64(0); done < len(p) && at < raw.info.Size; at += n.fs.block {
		if err := vfs.ReadFull(&raw, block, at); err != nil {
			return "", err
		}
		data := block
		if string(block[:4]) == "XSLM" {
			data = block[header:]
		}
		done += copy(p[done:], data)
	}
	return string(p), nil
}

func (n *node) List() ([]vfs.Entry, error) {
	if !n.info.Mode.IsDir() {
		return nil, fs.ErrInvalid
	}
	if n.format == formatLocal {
		return n.shortEntries()
	}
	if n.info.Size > vfs.MaxDirBytes {
		return nil, vfs.ErrTooLarge
	}
	var list []vfs.Entry
	block := make([]byte, n.fs.dirBlock)
	for off := int64(0); off < n.info.Size; off += n.fs.dirBlock {
		if err := vfs.ReadFull(&node{fs: n.fs, id: n.id, format: n.format, extents: n.extents, fork: n.fork,
			info: vfs.Info{Size: off + n.fs.dirBlock}}, block, off); err != nil {
			return nil, err
		}
		var err error
		if list, err = n.fs.blockEntries(list, block); err != nil {
			return nil, err
		}
	}
	return list, nil
}
