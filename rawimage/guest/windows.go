package guest

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/fastimage/fastimage/rawimage/guest/internal/hive"
	"github.com/fastimage/fastimage/rawimage/guest/internal/vfs"
	"github.com/fastimage/fastimage/rawimage/guest/internal/volume"
)

const (
	softwareHive = "Windows/System32/config/SOFTWARE"
	currentKey   = `Microsoft\Windows NT\CurrentVersion`
)

// windows is what checks of a Windows need.
type windows struct {
	system, software *hive.Hive
	control          string // the control set that boots: "ControlSet001"
}

func (e *exam) openHive(name string) (*hive.Hive, error) {
	f, err := e.tree.Open(name)
	if err != nil {
		return nil, err
	}
	ra, ok := f.(io.ReaderAt)
	if !ok {
		return nil, vfs.Unsupported("%s", name)
	}
	h, err := hive.Open(ra)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return h, nil
}

// windowsFacts reads the version from the registry.
func (e *exam) windowsFacts() (err error) {
	o := &e.report.OS
	o.Type, o.ID, o.Name = "windows", "windows", "Windows"
	if e.win.system, err = e.openHive(windowsHive); err != nil {
		return err
	}
	e.win.control = "ControlSet001"
	if n, ok := e.win.number(e.win.system, "Select", "Current"); ok {
		e.win.control = fmt.Sprintf("ControlSet%03d", n)
	}
	if e.win.software, err = e.openHive(softwareHive); err != nil {
		return err
	}
	text := func(name string) string { return clip(e.win.text(e.win.software, currentKey, name)) }
	o.Name, o.Edition = text("ProductName"), text("EditionID")
	if o.Build = text("CurrentBuildNumber"); o.Build == "" {
		o.Build = text("CurrentBuild")
	}
	o.Version = text("CurrentVersion")
	if major, ok := e.win.number(e.win.software, currentKey, "CurrentMajorVersionNumber"); ok {
		minor, _ := e.win.number(e.win.software, currentKey, "CurrentMinorVersionNumber")
		o.Version = fmt.Sprintf("%d.%d", major, minor)
	}
	// Windows 11 calls itself 10 in this place.
	if build, _ := strconv.Atoi(o.Build); build >= 22000 && strings.HasPrefix(o.Name, "Windows 10") {
		o.Name = "Windows 11" + strings.TrimPrefix(o.Name, "Windows 10")
	}
	o.Pretty = strings.TrimSpace(o.Name + " " + text("CSDVersion"))
	e.report.Kernel = o.Build
	switch e.win.text(e.win.system, e.win.control+`\Control\Session Manager\Environment`, "PROCESSOR_ARCHITECTURE") {
	case "AMD64":
		e.report.Architecture = "x86_64"
	case "x86":
		e.report.Architecture = "i686"
	case "ARM64":
		e.report.Architecture = "aarch64"
	}
	e.mounts = map[string]*volume.Volume{"/": e.root}
	e.firmwareFacts()
	return nil
}

// text returns a value, "" if there is none.
func (w *windows) text(h *hive.Hive, key, name string) string {
	k, err := h.Find(key)
	if err != nil || k == nil {
		return ""
	}
	v, _, _ := k.Value(name)
	return v.Text()
}

// number returns a value, and whether there is one.
func (w *windows) number(h *hive.Hive, key, name string) (uint32, bool) {
	k, err := h.Find(key)
	if err != nil || k == nil {
		return 0, false
	}
	v, _, _ := k.Value(name)
	return v.Number()
}

// service is a service or driver of Windows.
type service struct {
	name, key string
	exists    bool
	start     uint32 // 0 at boot, 1 by the system, 2 automatic, 3 on demand, 4 disabled
	file      string // path in the guest
	hasFile   bool
}

func (e *exam) service(name string) (service, error) {
	s := service{name: name, key: e.win.control + `\Services\` + name, start: 4}
	k, err := e.win.system.Find(s.key)
	if err != nil || k == nil {
		return s, err
	}
	s.exists = true
	if v, ok, _ := k.Value("Start"); ok {
		if n, ok := v.Number(); ok {
			s.start = n
		}
	}
	v, _, _ := k.Value("ImagePath")
	s.file = driverPath(v.Text(), name)
	s.hasFile = isFile(e.tree, s.file)
	return s, nil
}

// driverPath turns ImagePath, which may begin in several ways, into a path of the
// guest.
func driverPath(image, name string) string {
	p := strings.ReplaceAll(strings.Trim(image, `"`), `\`, "/")
	low := strings.ToLower(p)
	switch {
	case p == "":
		return "Windows/System32/drivers/" + name + ".sys"
	case strings.HasPrefix(low, "/systemroot/"):
		return "Windows/" + p[len("/systemroot/"):]
	case strings.HasPrefix(low, "%systemroot%/"):
		return "Windows/" + p[len("%systemroot%/"):]
	case strings.HasPrefix(low, "/??/c:/"):
		return p[len("/??/c:/"):]
	case strings.HasPrefix(low, "c:/"):
		return p[len("c:/"):]
	}
	return "Windows/" + p
}

// registry is evidence from the registry.
func (s service) evidence(text string) Evidence {
	return Evidence{Path: windowsHive, Text: s.key + ": " + text}
}
