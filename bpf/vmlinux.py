#!/usr/bin/python3
# SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
"""Print vmlinux.h: of the running kernel's types, the members that the programs read.

CO-RE relocates each access, so only names and kinds matter. What this kernel lacks, for its version
or configuration, is written as the table says; the programs ask for it before they read it.
"""

import json
import subprocess
import sys

# In the order of their definition. "name:type" gives the type for kernels without the member.
TYPES = [
    ("struct netns_ipv4", "sysctl_ip_default_ttl"),
    ("struct net", "net_cookie ipv4"),
    ("typedef possible_net_t", "net"),
    ("struct net_device", "ifindex"),
    ("struct dst_entry", "dev"),
    ("struct sock_common", "skc_net"),
    ("struct sock", "__sk_common sk_dst_cache"),
    ("struct inet_sock", "sk uc_ttl tos"),
    ("struct inet_connection_sock", "icsk_inet"),
    ("struct tcp_options_received", "tstamp_ok snd_wscale rcv_wscale ts_recent"),
    ("struct tcp_sock", "inet_conn rx_opt tsoffset rcv_wnd ecn_flags tcp_usec_ts:__u8:1 "
                        "is_mptcp:__u8:1 md5sig_info:void* ao_info:void*"),
]

HEAD = """/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef VMLINUX_H
#define VMLINUX_H

/*
 * The kernel's own types, trimmed to the members that are read (bpf/vmlinux.py). CO-RE relocates
 * every access, so the layout here does not matter and a member that a kernel lacks is asked for
 * with bpf_core_field_exists().
 */
#include <linux/types.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
"""

TAIL = """
#pragma clang attribute pop

#endif"""


class Btf:
    def __init__(self, path):
        dump = subprocess.run(["bpftool", "-j", "btf", "dump", "file", path], check=True,
                              capture_output=True, text=True, timeout=60).stdout
        self.types = {t["id"]: t for t in json.loads(dump)["types"]}
        self.known = {kind.split()[1] for kind, _ in TYPES}

    def named(self, kind, name):
        kind = {"struct": "STRUCT", "typedef": "TYPEDEF"}[kind]
        found = next(t for t in self.types.values() if t["kind"] == kind and t["name"] == name)
        return self.types[found["type_id"]] if kind == "TYPEDEF" else found

    def member(self, struct, name):
        """The member, also of an anonymous struct or union within."""
        for m in struct["members"]:
            if m["name"] == name:
                return m
            inner = self.strip(m["type_id"])
            if m["name"] == "(anon)" and inner["kind"] in ("STRUCT", "UNION"):
                found = self.member(inner, name)
                if found:
                    return found
        return None

    def strip(self, type_id):
        t = self.types.get(type_id, {"kind": "VOID"})
        while t["kind"] in ("CONST", "VOLATILE", "TYPE_TAG") or (
                t["kind"] == "TYPEDEF" and t["name"] not in self.known):
            t = self.types.get(t["type_id"], {"kind": "VOID"})
        return t

    def declare(self, member, name):
        t = self.strip(member["type_id"])
        bits = f" : {member['bitfield_size']}" if member.get("bitfield_size") else ""
        if t["kind"] == "INT":
            sign = "s" if t["encoding"] == "SIGNED" else "u"
            return f"__{sign}{t['size'] * 8} {name}{bits};"
        if t["kind"] == "PTR":
            to = self.strip(t["type_id"])
            known = to["kind"] == "STRUCT" and to["name"] in self.known
            return f"struct {to['name']} *{name};" if known else f"void *{name};"
        if t["kind"] == "TYPEDEF":
            return f"{t['name']} {name};"
        if t["kind"] == "STRUCT" and t["name"] in self.known:
            return f"struct {t['name']} {name};"
        raise SystemExit(f"vmlinux.py: {name}: its type is not in the table")


def main():
    btf = Btf(sys.argv[1] if len(sys.argv) > 1 else "/sys/kernel/btf/vmlinux")
    print(HEAD)
    blocks = []
    for what, members in TYPES:
        kind, name = what.split()
        struct = btf.named(kind, name)
        lines = [f"struct {name} {{" if kind == "struct" else "typedef struct {"]
        for spec in members.split():
            member, *fallback = spec.split(":")
            found = btf.member(struct, member)
            if found:
                lines.append("\t" + btf.declare(found, member))
            elif not fallback:
                raise SystemExit(f"vmlinux.py: {what} has no {member}: the programs need it")
            else:
                bits = f" : {fallback[1]}" if len(fallback) > 1 else ""
                base = fallback[0]
                lines.append("\tvoid *" + member + ";" if base == "void*"
                             else f"\t{base} {member}{bits};")
        lines.append("};" if kind == "struct" else f"}} {name};")
        blocks.append("\n".join(lines))
    print("\n\n".join(blocks))
    print(TAIL)


main()
