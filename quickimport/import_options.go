package quickimport

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fastimage/fastimage/bitmap"
	"github.com/fastimage/fastimage/rawimage/anyimage"
	"github.com/fastimage/fastimage/uploader"
	"github.com/fastimage/fastimage/zvhd2"
)

// Format is what the disk image becomes in the bucket.
type Format string

// The two formats that fast image creation takes.
const (
	FormatZVHD2 Format = "zvhd2" // the default: smaller to upload, and its layout is public
	FormatRaw   Format = "raw"   // the disk as it is, with a bitmap file (.mf) beside it
)

// An ImportOption configures one call of [Client.Import], [Client.Plan],
// [Client.Create] or [Client.WaitJob]. One that has no effect in a call is an
// [*OptionError]: Plan takes those of the import that it plans; Create has
// nothing to upload; WaitJob takes [WithEvents] alone.
type ImportOption func(*importOptions) error

type importOptions struct {
	given                map[string]bool // by name
	events               func(Event)
	format               Format
	level                zvhd2.Level
	concurrency, workers int
	partSize             int64
	overwrite            bool
	bitmapFile           string
	bitmapLayout         *bitmap.Layout
	verify, resubmit     bool
	wait, awaitActive    bool
	deleteObject         bool
	source               []anyimage.Option
	force                bool
	guest                GuestCheck
}

// importOption makes an option that is known by its name.
func importOption(name string, set func(*importOptions) error) ImportOption {
	return func(o *importOptions) error {
		o.given[name] = true
		return set(o)
	}
}

// WithEvents sets a function that is called with every [Event] of the import, from
// several goroutines but never from two at once. It must not block. Default none.
func WithEvents(f func(Event)) ImportOption {
	return importOption("WithEvents", func(o *importOptions) error { o.events = f; return nil })
}

// WithFormat sets what is uploaded. Default [FormatZVHD2].
func WithFormat(f Format) ImportOption {
	return importOption("WithFormat", func(o *importOptions) error {
		if f != FormatZVHD2 && f != FormatRaw {
			return &OptionError{Option: "WithFormat", Reason: fmt.Sprintf("%q: want zvhd2 or raw", f)}
		}
		o.format = f
		return nil
	})
}

// WithSourceOptions sets how the disk image is opened, for instance in which
// directory the backing file of a QCOW2 may be. Default: by its content, and
// without any other file than a VMDK's own.
func WithSourceOptions(opts ...anyimage.Option) ImportOption {
	return importOption("WithSourceOptions", func(o *importOptions) error { o.source = append(o.source, opts...); return nil })
}

// WithBitmapLayout sets the layout of the bitmap file beside a RAW object, in
// which it is written and in which that of [WithBitmapFile] is read. Default:
// [bitmap.DefaultLayout], which is an assumption: the vendor documents none.
func WithBitmapLayout(l bitmap.Layout) ImportOption {
	return importOption("WithBitmapLayout", func(o *importOptions) error { o.bitmapLayout = &l; return l.Validate() })
}

// WithBitmapFile uploads this bitmap file (.mf), made by the vendor's tool for
// the same RAW image, unchanged instead of writing one. A file that marks a
// block with data as empty would lose that data and is refused. Without
// [WithBitmapLayout] a file that is not in the default layout cannot be
// checked: it is uploaded with a warning. Default: none.
func WithBitmapFile(filename string) ImportOption {
	return importOption("WithBitmapFile", func(o *importOptions) error { o.bitmapFile = filename; return nil })
}

// WithRemoteVerification sets whether the structures of an uploaded ZVHD2 are
// read back by range requests and compared with what was written. Default true.
func WithRemoteVerification(on bool) ImportOption {
	return importOption("WithRemoteVerification", func(o *importOptions) error { o.verify = on; return nil })
}

// WithWait sets whether the import waits for the job. If not, it returns as
// soon as the service has accepted the request, with a job id for
// [Client.WaitJob] and without an image id; a durable one can be run again to
// wait for it. Default true.
func WithWait(on bool) ImportOption {
	return importOption("WithWait", func(o *importOptions) error { o.wait = on; return nil })
}

// WithAwaitActive sets whether the import waits, after the job, until the image
// is listed as active. Default true.
func WithAwaitActive(on bool) ImportOption {
	return importOption("WithAwaitActive", func(o *importOptions) error { o.awaitActive = on; return nil })
}

// WithDeleteObject removes the uploaded objects once the image is active.
// Default: they are kept.
func WithDeleteObject() ImportOption {
	return importOption("WithDeleteObject", func(o *importOptions) error { o.deleteObject = true; return nil })
}

// WithResubmit lets an import whose create call has an unknown outcome send it
// again. Use it once you have made sure that there is neither an image of that
// name nor a job that makes one. It needs [WithStateDir]. Default: never.
func WithResubmit() ImportOption {
	return importOption("WithResubmit", func(o *importOptions) error { o.resubmit = true; return nil })
}

// WithLevel sets the compression level of ZVHD2. Default [zvhd2.LevelDefault].
func WithLevel(l zvhd2.Level) ImportOption {
	return importOption("WithLevel", func(o *importOptions) error { o.level = l; return nil })
}

// WithConcurrency sets how many parts are sent at once, 1 to 64. Default: the uploader's.
func WithConcurrency(n int) ImportOption {
	return intOption("WithConcurrency", n, 64, func(o *importOptions) { o.concurrency = n })
}

// WithWorkers sets how many blocks are compressed at once, 1 to 256. Default: one per core.
func WithWorkers(n int) ImportOption {
	return intOption("WithWorkers", n, 256, func(o *importOptions) { o.workers = n })
}

func intOption(name string, n, most int, set func(*importOptions)) ImportOption {
	return importOption(name, func(o *importOptions) error {
		if n < 1 || n > most {
			return &OptionError{Option: name, Reason: fmt.Sprintf("%d: want 1 to %d", n, most)}
		}
		set(o)
		return nil
	})
}

// WithPartSize sets the size of the parts in bytes, 5 MiB to 5 GiB. Default:
// chosen by the largest size that the object can have.
func WithPartSize(n int64) ImportOption {
	return importOption("WithPartSize", func(o *importOptions) error {
		if n < uploader.MinPartSize || n > uploader.MaxPartSize {
			return &OptionError{Option: "WithPartSize", Reason: fmt.Sprintf("%d bytes: want 5 MiB to 5 GiB", n)}
		}
		o.partSize = n
		return nil
	})
}

// WithOverwrite lets Import replace an object that has the target's key.
// Default: that is an error that matches [ErrObjectExists].
func WithOverwrite() ImportOption {
	return importOption("WithOverwrite", func(o *importOptions) error { o.overwrite = true; return nil })
}

// WithForce imports a system disk although it contradicts the requested firmware
// or architecture. Default: that is an error that matches [ErrMismatch].
func WithForce() ImportOption {
	return importOption("WithForce", func(o *importOptions) error { o.force = true; return nil })
}

// GuestCheck says what follows from an examination of the guest.
type GuestCheck string

// Guest checks.
const (
	GuestWarn   GuestCheck = "warn"   // the default: what is wrong with the guest is a warning
	GuestStrict GuestCheck = "strict" // a guest that will not work is refused before the upload
	GuestOff    GuestCheck = "off"    // the guest is not examined
)

// WithGuestCheck sets what follows from the examination of the guest on a system
// disk ([guest.Examine]), which is made before the upload. The guest on a disk that
// can only be read in order is not examined. Default [GuestWarn].
func WithGuestCheck(g GuestCheck) ImportOption {
	return importOption("WithGuestCheck", func(o *importOptions) error {
		if g != GuestWarn && g != GuestStrict && g != GuestOff {
			return &OptionError{Option: "WithGuestCheck", Reason: fmt.Sprintf("%q: want warn, strict or off", g)}
		}
		o.guest = g
		return nil
	})
}

// OptionError is an [ImportOption] that cannot be used, or has no effect, in the
// call it was given to. It matches [ErrOption].
type OptionError struct {
	Option   string // its name: "WithLevel"
	Reason   string // why it cannot be used
	Conflict string // the option because of which it has no effect, "" if none: "WithFormat"
}

// Error implements error.
func (e *OptionError) Error() string {
	if e.Conflict != "" {
		return "quickimport: " + e.Option + " has no effect with this " + e.Conflict + ": " + e.Reason
	}
	return "quickimport: " + e.Option + ": " + e.Reason
}

// Is reports whether target is [ErrOption].
func (e *OptionError) Is(target error) bool { return target == ErrOption }

func newImportOptions(opts []ImportOption) (*importOptions, error) {
	o := &importOptions{given: map[string]bool{}, format: FormatZVHD2, guest: GuestWarn, level: zvhd2.LevelDefault, verify: true, wait: true, awaitActive: true}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	return o, nil
}

// without returns an error if one of the named options was given.
func (o *importOptions) without(conflict, reason string, names ...string) error {
	for _, name := range names {
		if o.given[name] {
			return &OptionError{Option: name, Reason: reason, Conflict: conflict}
		}
	}
	return nil
}

// only returns an error if any but the named options was given.
func (o *importOptions) only(call string, names ...string) error {
	for _, name := range slices.Sorted(maps.Keys(o.given)) {
		if !slices.Contains(names, name) {
			return &OptionError{Option: name, Reason: "has no effect in " + call}
		}
	}
	return nil
}

// check refuses options that contradict each other or have no effect.
func (o *importOptions) check(durable bool) error {
	var errs []error
	if o.format == FormatRaw {
		errs = append(errs, o.without("WithFormat", "a RAW object is not compressed", "WithLevel", "WithWorkers"))
	} else {
		errs = append(errs, o.without("WithFormat", "a bitmap file goes with a RAW object only", "WithBitmapFile", "WithBitmapLayout"))
	}
	if !o.wait {
		errs = append(errs, o.without("WithWait", "the import ends before the image is made", "WithAwaitActive", "WithDeleteObject"))
	}
	if !o.awaitActive {
		errs = append(errs, o.without("WithAwaitActive", "the object is needed until the image is active", "WithDeleteObject"))
	}
	if !durable {
		errs = append(errs, o.without("", "has no effect without a state store", "WithResubmit"))
	}
	return errors.Join(errs...)
}
