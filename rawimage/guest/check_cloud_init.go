package guest

import (
	"slices"
	"strings"
)

// checkCloudInit: without cloud-init a server gets no keys, passwords or host name.
var checkCloudInit = check{"cloud-init", guideInit, isLinux, (*exam).checkCloudInit}

func (e *exam) checkCloudInit(f *Finding) error {
	const lost = ": the cloud cannot inject keys, passwords or the host name"
	if why, at := e.cloudInitMissing(); why != "" {
		f.found(StatusWarn, at, e.cloudInitFix(), "%s%s", strings.TrimPrefix(why, "it is "), lost)
		return nil
	}
	if !e.cloudInitEnabled() {
		f.found(StatusWarn, Evidence{}, "systemctl enable cloud-init-local cloud-init cloud-config cloud-final", "nothing starts it%s", lost)
		return nil
	}
	if n, at := e.cloudInitValue("datasource_list"); n != nil {
		known := false
		for _, c := range n.Content {
			known = known || slices.Contains([]string{"OpenStack", "ConfigDrive", "Huawei"}, c.Value)
		}
		if !known {
			f.found(StatusWarn, at, "datasource_list: [ OpenStack, ConfigDrive, None ]",
				"its list of data sources has neither OpenStack nor ConfigDrive%s", lost)
		}
	}
	f.ok("installed and enabled")
	return nil
}

func (e *exam) cloudInitFix() string {
	if e.hasProgram("cloud-init") {
		return "rm -f /etc/cloud/cloud-init.disabled && systemctl unmask cloud-init && systemctl enable cloud-init-local cloud-init cloud-config cloud-final"
	}
	switch {
	case e.hasProgram("apt-get"), e.family() == initramfsTools:
		return "apt-get install cloud-init"
	case e.hasProgram("zypper"):
		return "zypper install cloud-init"
	case e.hasProgram("dnf"):
		return "dnf install cloud-init"
	case e.hasProgram("apk"):
		return "apk add cloud-init && setup-cloud-init"
	case e.hasProgram("pacman"):
		return "pacman -S cloud-init"
	}
	return "yum install cloud-init"
}
