package guest

import (
	"fmt"
	"time"
)

type options struct {
	firmware     Firmware
	architecture string
	osVersion    string
	maxBytes     int64
	timeout      time.Duration
}

// Option changes how a guest is examined.
type Option func(*options) error

// WithFirmware examines the guest for servers of a firmware. The default,
// FirmwareAuto, is satisfied by a disk that either can start.
func WithFirmware(f Firmware) Option {
	return func(o *options) error {
		switch f {
		case FirmwareAuto, FirmwareBIOS, FirmwareUEFI:
			o.firmware = f
			return nil
		}
		return fmt.Errorf("guest: firmware %q: want %q, %q or nothing", f, FirmwareBIOS, FirmwareUEFI)
	}
}

// WithArchitecture examines the guest for servers of an architecture as the
// service names it, "x86" or "arm". The default, "", is the guest's own.
func WithArchitecture(a string) Option {
	return func(o *options) error {
		switch a {
		case "", "x86", "arm":
			o.architecture = a
			return nil
		}
		return fmt.Errorf("guest: architecture %q: want x86, arm or nothing", a)
	}
}

// WithOSVersion compares the guest with the value of os_version that the image
// will be registered with. The default, "", compares nothing.
func WithOSVersion(v string) Option {
	return func(o *options) error { o.osVersion = v; return nil }
}

// WithMaxBytes bounds what is read from the disk. The default is 512 MiB; a guest
// takes a few tens of MiB, most of them for its initramfs.
func WithMaxBytes(n int64) Option {
	return func(o *options) error {
		if n <= 0 {
			return fmt.Errorf("guest: limit of %d bytes: want more than 0", n)
		}
		o.maxBytes = n
		return nil
	}
}

// WithTimeout bounds the time of an examination. The default is one minute.
func WithTimeout(d time.Duration) Option {
	return func(o *options) error {
		if d <= 0 {
			return fmt.Errorf("guest: timeout %v: want more than 0", d)
		}
		o.timeout = d
		return nil
	}
}

func newOptions(opts []Option) (*options, error) {
	o := &options{maxBytes: 512 << 20, timeout: time.Minute}
	for _, opt := range opts {
		if err := opt(o); err != nil {
			return nil, err
		}
	}
	if o.architecture == "arm" && o.firmware == FirmwareBIOS {
		return nil, fmt.Errorf("guest: firmware bios with architecture arm: arm has uefi only")
	}
	return o, nil
}
