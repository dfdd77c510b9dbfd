package imstest

import (
	"net/url"
	"slices"
	"strings"
)

// osList is what the region takes as os_version: an excerpt of the service's
// published lists, one platform a line. The tags before the colon go for all
// values of the line, 32-bit values aside, which have x86 alone.
const osList = `
Windows x86,uefi: Windows 10 64bit; Windows Server 2012 R2 Standard 64bit; Windows Server 2012 R2 Datacenter 64bit; Windows Server 2016 Standard 64bit; Windows Server 2016 Datacenter 64bit; Windows Server 2019 Standard 64bit; Windows Server 2019 Datacenter 64bit; Windows Server 2022 Standard 64bit; Windows Server 2022 Datacenter 64bit
SUSE x86,bms: SUSE Linux Enterprise Server 11 SP3 32bit; SUSE Linux Enterprise Server 11 SP4 64bit; SUSE Linux Enterprise Server 12 SP5 64bit; SUSE Linux Enterprise Server 15 64bit; SUSE Linux Enterprise Server 15 SP1 64bit; SUSE Linux Enterprise Server 15 SP5 64bit
Oracle Linux x86,bms: Oracle Linux Server release 6.9 64bit; Oracle Linux Server release 7.6 64bit; Oracle Linux Server release 8.8 64bit
RedHat x86,uefi,bms: Redhat Linux Enterprise 6.10 64bit; Redhat Linux Enterprise 7.6 64bit; Redhat Linux Enterprise 7.9 64bit; Redhat Linux Enterprise 8.0 64bit; Redhat Linux Enterprise 9.2 64bit
Ubuntu x86,arm,uefi,bms: Ubuntu 14.04 server 32bit; Ubuntu 14.04 server 64bit; Ubuntu 16.04 server 64bit; Ubuntu 18.04 server 64bit; Ubuntu 20.04 server 64bit; Ubuntu 22.04 server 64bit; Ubuntu 24.04 server 64bit
openSUSE x86,arm: openSUSE 15.0 64bit; openSUSE 15.1 64bit; openSUSE 42.3 64bit
CentOS x86,bms: CentOS 6.10 32bit; CentOS 6.10 64bit; CentOS 7.0 64bit; CentOS 7.5 64bit; CentOS 7.7 64bit
CentOS x86,arm,uefi: CentOS 7.6 64bit; CentOS 7.9 64bit; CentOS 8.0 64bit; CentOS 8.2 64bit; CentOS Stream 8 64bit; CentOS Stream 9 64bit
Debian x86,arm,uefi: Debian GNU/Linux 8.10.0 64bit; Debian GNU/Linux 9.0.0 64bit; Debian GNU/Linux 10.0.0 64bit; Debian GNU/Linux 11 64bit; Debian GNU/Linux 11.1.0 64bit; Debian GNU/Linux 12 64bit; Debian GNU/Linux 12.0.0 64bit
Fedora x86,arm,uefi: Fedora 29 64bit; Fedora 30 64bit; Fedora 38 64bit; Fedora 39 64bit; Fedora 40 64bit
EulerOS x86,arm,uefi,bms: EulerOS 2.2 64bit; EulerOS 2.5 64bit; EulerOS 2.9 64bit; EulerOS 2.10 64bit
Huawei Cloud EulerOS x86,arm,uefi,bms: Huawei Cloud EulerOS 1.1 64bit; Huawei Cloud EulerOS 2.0 64bit
openEuler x86,arm,uefi: openEuler 20.03 64bit; openEuler 22.03 64bit; openEuler 24.03 64bit
Rocky Linux x86,arm,uefi: Rocky Linux 8.5 64bit; Rocky Linux 8.8 64bit; Rocky Linux 9.2 64bit; Rocky Linux 9.4 64bit
AlmaLinux x86,arm,uefi: AlmaLinux 8.3 64bit; AlmaLinux 8.8 64bit; AlmaLinux 9.2 64bit; AlmaLinux 9.4 64bit
CoreOS x86: CoreOS 1010.5.0; CoreOS 1068.10.0; CoreOS 1298.6.0
NeoKylin x86,arm: NeoKylin 7.4 64bit; NeoKylin Server release 5.0 U2 64bit
`

type osVersion struct {
	platform, version string
	tags              []string
}

var osVersions = parseOSList(osList)

func parseOSList(list string) []osVersion {
	var out []osVersion
	for line := range strings.Lines(strings.TrimSpace(list)) {
		head, values, _ := strings.Cut(strings.TrimSpace(line), ": ")
		at := strings.LastIndex(head, " ")
		for v := range strings.SplitSeq(values, "; ") {
			tags := strings.Split(head[at+1:], ",")
			if strings.HasSuffix(v, " 32bit") {
				tags = tags[:1]
			}
			out = append(out, osVersion{head[:at], v, tags})
		}
	}
	return out
}

// OSVersions returns the values of os_version that the service lists under a
// tag (x86, arm, uefi, bms), "" for all.
func (s *Server) OSVersions(tag string) []string {
	var out []string
	for _, v := range osVersions {
		if tag == "" || slices.Contains(v.tags, tag) {
			out = append(out, v.version)
		}
	}
	return out
}

// listOSVersions answers OpOSVersions: a list of platforms, without an object around it.
func (m *imsService) listOSVersions(q url.Values) any {
	type entry = map[string]any
	out := []entry{}
	for _, v := range osVersions {
		if slices.ContainsFunc(q["tag"], func(t string) bool { return !slices.Contains(v.tags, t) }) {
			continue
		}
		if len(out) == 0 || out[len(out)-1]["platform"] != v.platform {
			out = append(out, entry{"platform": v.platform, "version_list": []entry{}})
		}
		kind, bits := "Linux", 64
		if v.platform == "Windows" {
			kind = v.platform
		}
		if strings.HasSuffix(v.version, " 32bit") {
			bits = 32
		}
		p := out[len(out)-1]
		p["version_list"] = append(p["version_list"].([]entry), entry{"platform": v.platform, "os_version": v.version,
			"os_version_key": v.version, "os_bit": bits, "os_type": kind})
	}
	return out
}
