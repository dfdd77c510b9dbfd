package guest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fastimage/fastimage/rawimage/guest/internal/blockio"
	"github.com/fastimage/fastimage/rawimage/guest/internal/bootcfg"
	"github.com/fastimage/fastimage/rawimage/guest/internal/lvm"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/volume"
)

// errTimeout is what ends an examination that takes longer than it may.
var errTimeout = errors.New("time limit reached")

// Examine examines the guest on a disk of size bytes. Whatever is wrong with the
// disk or the guest is in the report, a disk that cannot be read included:
// Examine returns an error only for an invalid option or size, and when ctx is
// done.
func Examine(ctx context.Context, disk io.ReaderAt, size int64, opts ...Option) (*Report, error) {
	o, err := newOptions(opts)
	if err != nil {
		return nil, err
	}
	if disk == nil || size < 0 {
		return nil, fmt.Errorf("guest: disk of %d bytes", size)
	}
	started := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, o.timeout, errTimeout)
	defer cancel()
	e := &exam{
		ctx: limited, opts: o, report: &Report{Findings: []Finding{}},
		disk: blockio.New(limited, disk, size, o.maxBytes),
	}
	e.run()
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("guest: %w", err)
	}
	e.disk.Release()
	r := e.report
	r.Reads.Requests, r.Reads.Bytes = e.disk.Stats()
	r.Reads.Duration = time.Since(started)
	return r, nil
}

// exam is one examination.
type exam struct {
	ctx    context.Context // bounded by the time limit
	opts   *options
	disk   *blockio.Reader
	report *Report

	vols   *volume.Disk
	root   *volume.Volume
	tree   *vfs.Tree
	mounts map[string]*volume.Volume // by mount point
	fstab  []mount

	boot   *bootcfg.Config
	entry  *bootcfg.Entry // that boots; nil if none was found
	kernel kernel
	nets   *network
	win    *windows
}

// run fills in the report.
func (e *exam) run() {
	err := e.guard(e.find)
	if err == nil {
		e.report.Examined = true
		e.report.files = e.tree
	} else {
		e.report.Reason = "could not be examined: " + reason(err)
	}
	for _, c := range checks {
		if c.needs(e) {
			e.check(c)
		}
	}
}

// guard calls f and turns a panic into an error.
func (e *exam) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = vfs.Damaged("%v", r)
		}
		if err != nil && context.Cause(e.ctx) == errTimeout {
			err = errTimeout
		}
	}()
	return f()
}

// reason describes an error for people.
func reason(err error) string {
	switch {
	case errors.Is(err, errTimeout), errors.Is(err, context.DeadlineExceeded):
		return errTimeout.Error()
	}
	return err.Error()
}

// check makes one check; whatever keeps it from an answer makes it unknown.
func (e *exam) check(c check) {
	f := Finding{Status: StatusOK}
	if err := e.guard(func() error { return c.run(e, &f) }); err != nil {
		f = Finding{Status: StatusUnknown, Summary: "could not be examined: " + reason(err)}
	}
	f.Check, f.Guide = c.name, c.guide
	for i := range f.Evidence {
		if p := &f.Evidence[i].Path; !e.isVolumeName(*p) {
			*p = absolute(*p)
		}
	}
	e.report.Findings = append(e.report.Findings, f)
}

// isVolumeName tells the name of a volume, which evidence may have in place of a
// path.
func (e *exam) isVolumeName(name string) bool {
	if name == "" || name == "disk" || e.vols == nil {
		return true
	}
	return slices.ContainsFunc(e.vols.Volumes, func(v *volume.Volume) bool { return v.Name == name || strings.HasPrefix(name, v.Name+": ") }) ||
		slices.ContainsFunc(e.vols.Groups, func(g *lvm.Group) bool { return g.Name == name }) ||
		slices.ContainsFunc(e.vols.Arrays, func(a *volume.Array) bool { return a.String() == name })
}

// absolute returns a path of the guest as its users write it.
func absolute(path string) string {
	if path == "" || strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}

// find finds the guest on the disk.
func (e *exam) find() error {
	var err error
	if e.vols, err = volume.Scan(e.ctx, e.disk, e.disk.Size()); err != nil {
		return err
	}
	e.volumeFacts()
	defer e.volumeFacts() // once more, with mount points
	if err := e.findRoot(); err != nil {
		return err
	}
	e.report.Root = e.volumeFact(e.root)
	if e.win != nil {
		return e.windowsFacts()
	}
	e.mountAll()
	e.osFacts()
	e.bootFacts()
	e.report.Root = e.volumeFact(e.root)
	return nil
}

func (e *exam) volumeFacts() {
	r := e.report
	r.Volumes, r.VolumeGroups = nil, nil
	for _, v := range e.vols.Volumes {
		r.Volumes = append(r.Volumes, e.volumeFact(v))
	}
	for _, g := range e.vols.Groups {
		f := VolumeGroup{Name: g.Name, PhysicalVolumes: g.PVs, Missing: g.Missing, Volumes: []string{}}
		for _, v := range g.Volumes {
			if v.Visible {
				f.Volumes = append(f.Volumes, v.Name)
			}
		}
		r.VolumeGroups = append(r.VolumeGroups, f)
	}
}

func (e *exam) volumeFact(v *volume.Volume) Volume {
	f := Volume{Name: v.Name, Size: v.Size, Type: v.Type, UUID: v.UUID, Label: v.Label}
	for at, m := range e.mounts {
		if m == v && (f.Mount == "" || len(at) < len(f.Mount)) {
			f.Mount = at
		}
	}
	return f
}
