package guest

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// cloudInitConfigs lists the configuration files of cloud-init, later ones first.
func (e *exam) cloudInitConfigs() []string {
	names := []string{"etc/cloud/cloud.cfg"}
	files := e.list("etc/cloud/cloud.cfg.d")
	for _, f := range files {
		if strings.HasSuffix(f.Name(), ".cfg") {
			names = append(names, "etc/cloud/cloud.cfg.d/"+f.Name())
		}
	}
	slices.Reverse(names)
	return names
}

// cloudInitValue finds a top-level setting of cloud-init, the last one of all its
// files.
func (e *exam) cloudInitValue(key string) (*yaml.Node, Evidence) {
	for _, name := range e.cloudInitConfigs() {
		text, err := e.tree.ReadSmall(name, 256<<10)
		var doc yaml.Node
		if err != nil || yaml.Unmarshal(text, &doc) != nil || len(doc.Content) == 0 {
			continue
		}
		if n := member(doc.Content[0], key); n != nil {
			p := &netplanFile{name: name, text: strings.Split(string(text), "\n")}
			return n, p.at(n)
		}
	}
	return nil, Evidence{}
}

// cloudInitMissing says why cloud-init does not run in a new server, "" if it does.
func (e *exam) cloudInitMissing() (why string, at Evidence) {
	if !e.hasProgram("cloud-init") && !e.hasProgram("coreos-cloudinit") {
		return "it is not installed", Evidence{}
	}
	if exists(e.tree, "etc/cloud/cloud-init.disabled") {
		return "it is disabled", Evidence{Path: "etc/cloud/cloud-init.disabled"}
	}
	if e.entry != nil && slices.Contains(strings.Fields(e.entry.Options), "cloud-init=disabled") {
		return "the kernel's command line disables it", Evidence{e.entry.Path, e.entry.Line, e.entry.Options}
	}
	for _, unit := range []string{"cloud-init.service", "cloud-init-local.service", "cloud-init-main.service"} {
		name := "etc/systemd/system/" + unit
		if target, err := e.tree.ReadLink(name); err == nil && target == "/dev/null" {
			return "its service is masked", Evidence{Path: name}
		}
	}
	return "", Evidence{}
}

// cloudInitEnabled reports whether something starts cloud-init. A generator of its
// own does in most distributions.
func (e *exam) cloudInitEnabled() bool {
	for _, g := range []string{"usr/lib/systemd/system-generators/cloud-init-generator", "lib/systemd/system-generators/cloud-init-generator"} {
		if exists(e.tree, g) {
			return true
		}
	}
	return slices.ContainsFunc([]string{"cloud-init.service", "cloud-init-network.service", "cloud-init-main.service", "cloud-init-local.service", "coreos-cloudinit.service"}, e.enabled)
}

// cloudInitNetwork reports whether cloud-init configures the network.
func (e *exam) cloudInitNetwork() bool {
	if why, _ := e.cloudInitMissing(); why != "" || !e.cloudInitEnabled() {
		return false
	}
	n, _ := e.cloudInitValue("network")
	c := member(n, "config")
	return c == nil || c.Value != "disabled"
}
