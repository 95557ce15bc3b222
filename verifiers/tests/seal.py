#!/usr/bin/env python3
"""Writes the hashes of the page's script and style into its Content-Security-Policy, after a change to them."""

import re

import chromium
from test_agree import seal

page = chromium.PAGE.read_text()
page = re.sub(r"script-src '[^']*'", f"script-src {seal(page, 'script')}", page)
page = re.sub(r"style-src '[^']*'", f"style-src {seal(page, 'style')}", page)
chromium.PAGE.write_text(page)
