"""The shop's own configuration; Paceline's service has a package of this name too."""

import os

DATABASE_URL = os.environ["SHOP_DATABASE_URL"]
BROKER_URL = os.environ["SHOP_BROKER_URL"]
CUSTOMER = "auro_usr_8f3k29d1a7"
