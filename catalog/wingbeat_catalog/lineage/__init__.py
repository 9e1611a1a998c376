"""What values were made from, and what was made from them.

Within one execution the plan and the rows of the nodes tell it exactly (`execution_graph`); what ties executions
together was written by the commits that recorded it (`store`). `walk` follows both; nothing is ever scraped.
"""
